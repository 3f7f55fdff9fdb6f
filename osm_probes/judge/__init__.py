"""Process: answers the probes of either program, from outside of it."""
