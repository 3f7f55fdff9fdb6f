"""Connects to the ADS and to the webhook as their clients do."""
