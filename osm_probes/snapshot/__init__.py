"""Vocabulary: Envoy resources, serialised once, as sets with content-hash versions."""
