"""Vocabulary: the services, proxies and settings of the mesh, as values."""
