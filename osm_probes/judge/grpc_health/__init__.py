"""The probes as grpc.health.v1, over h2."""
