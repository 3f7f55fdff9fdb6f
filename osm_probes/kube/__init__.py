"""The Kubernetes API: how objects are read, watched and written; the only home of its client."""
