"""Health: how a part tells its truth."""
