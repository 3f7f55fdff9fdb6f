"""Argv and environment -> one immutable configuration per program, parsed once at the start."""
