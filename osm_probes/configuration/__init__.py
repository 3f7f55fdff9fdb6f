"""Configuration: argv and environment -> one frozen value per program, parsed once."""
