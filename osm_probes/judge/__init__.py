"""The process that answers the probes of either program."""
