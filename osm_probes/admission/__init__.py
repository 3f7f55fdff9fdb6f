"""Admission: the webhook that adds sidecars to new pods."""
