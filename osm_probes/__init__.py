"""A control plane for an Envoy service mesh whose health probes tell the truth."""

__version__ = "0.1.0"
