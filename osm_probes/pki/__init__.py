"""Vocabulary: the certificate authority and what it issues."""
