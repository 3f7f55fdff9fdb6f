"""Fuzzers: generated input for everything that reads bytes from outside. `make fuzz` runs them."""
