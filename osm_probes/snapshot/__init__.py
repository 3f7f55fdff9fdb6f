"""Serialised Envoy resources, as sets whose versions are content hashes."""
