"""The ports and HTTP paths of the control plane and of sidecars."""

from typing import Final

# The control plane.
ADS_PORT: Final = 15128
"""The controller's xDS server (ADS), which sidecars connect to."""
PROBE_PORT: Final = 9091
"""The probes, metrics and versions of both programs, in plain HTTP."""
DEBUG_PORT: Final = 9092
"""The controller's pages with names of the mesh's objects, in plain HTTP, on the pod's loopback alone."""
WEBHOOK_PORT: Final = 9090
"""The injector's webhook and its HEALTHZ_PATH."""

ALIVE_PATH: Final = "/health/alive"
READY_PATH: Final = "/health/ready"
HEALTHZ_PATH: Final = "/healthz"
METRICS_PATH: Final = "/metrics"
VERSION_PATH: Final = "/version"
SMI_VERSION_PATH: Final = "/smi/version"
DEBUG_PROXIES_PATH: Final = "/debug/proxies"
REVIEW_PATH: Final = "/mutate-pod-creation"

# Sidecars.
ADMIN_PORT: Final = 15000
OUTBOUND_PORT: Final = 15001
INBOUND_PORT: Final = 15003
PROXY_METRICS_PORT: Final = 15010
PROXY_METRICS_PATH: Final = "/stats/prometheus"

# Rewritten application probes.
LIVENESS_PROBE_PORT: Final = 15901
READINESS_PROBE_PORT: Final = 15902
STARTUP_PROBE_PORT: Final = 15903
TCP_PROBE_PORT: Final = 15904
FIRST_GRPC_PROBE_PORT: Final = 15905
"""gRPC probes have no path, so each gRPC port of a pod gets a probe port of its own, from this one on."""
