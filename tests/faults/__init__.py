"""The fault matrix: real programs, one fault from outside each, and whether the probes told the truth all the time."""
