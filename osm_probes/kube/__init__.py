"""The Kubernetes API: reading, watching and writing objects. Only this package imports the client library."""
