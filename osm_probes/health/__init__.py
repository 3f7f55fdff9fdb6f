"""Health state, heartbeat, checks, and the messages between a program and its judge."""
