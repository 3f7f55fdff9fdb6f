"""The fault matrix: inject faults into the real programs and compare their probes with what real clients get."""
