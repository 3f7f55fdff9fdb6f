"""Names of Envoy resources, as Open Service Mesh has them: they show in proxies' statistics and dumps."""

from typing import Final

from osm_probes.mesh.identity import Identity
from osm_probes.xds.destination import Destination

CLUSTER_DOMAIN: Final = "cluster.local"
INBOUND_LISTENER: Final = "inbound-listener"
OUTBOUND_LISTENER: Final = "outbound-listener"
PROMETHEUS_LISTENER: Final = "inbound-prometheus-listener"
PASSTHROUGH_CLUSTER: Final = "passthrough-outbound"
METRICS_CLUSTER: Final = "envoy-metrics-cluster"
ADS_CLUSTER: Final = "osm-controller"


def controller_name(namespace: str) -> str:
    """The name in the certificate of a controller in that namespace."""
    return f"osm-controller.{namespace}.svc.{CLUSTER_DOMAIN}"


def cluster_name(to: Destination) -> str:
    """The cluster of calls to it, and its assignment of endpoints: `ns/svc|port`."""
    return f"{to.namespace}/{to.service}|{to.number}"


def local_name(to: Destination, *, target: int) -> str:
    """The application itself, seen by its own sidecar: `ns/svc|target|local`."""
    return f"{to.namespace}/{to.service}|{target}|local"


def server_name(to: Destination) -> str:
    """What callers' sidecars ask for in the TLS handshake."""
    return f"{to.service}.{to.namespace}.svc.{CLUSTER_DOMAIN}"


def outbound_routes_name(to: Destination) -> str:
    """Routes by host, shared by all services of that port; a headless service has its own."""
    return f"rds-outbound.{cluster_name(to) if to.headless else to.number}"


def inbound_routes_name(to: Destination, *, target: int) -> str:
    """Routes to the application."""
    return f"rds-inbound.{to.namespace}/{to.service}|{target}"


def certificate_name(identity: Identity) -> str:
    """The secret with an identity's own certificate and key: `service-cert:ns/sa`."""
    return f"service-cert:{identity}"


def outbound_roots_name(to: Destination) -> str:
    """The secret with whom to trust as that service: `root-cert-for-mtls-outbound:ns/svc`."""
    return f"root-cert-for-mtls-outbound:{to.namespace}/{to.service}"


def inbound_roots_name(identity: Identity) -> str:
    """The secret with whom an identity's sidecar trusts as caller: `root-cert-for-mtls-inbound:ns/sa`."""
    return f"root-cert-for-mtls-inbound:{identity}"


def callers_name(to: Destination, *, target: int) -> str:
    """The secret with whom a sidecar lets call a TCP destination: `root-cert-for-mtls-inbound:ns/svc|target`."""
    return f"root-cert-for-mtls-inbound:{to.namespace}/{to.service}|{target}"


def hosts(to: Destination, *, caller_namespace: str) -> list[str]:
    """The hosts by which a caller may mean it, without port: DNS names and dialled addresses, no two alike."""
    name = f"{to.service}.{to.namespace}"
    short = [to.service] if to.namespace == caller_namespace else []
    forms = [name, f"{name}.svc", f"{name}.svc.cluster", f"{name}.svc.{CLUSTER_DOMAIN}"]
    addresses = (f"[{ip}]" if ":" in (ip := dialled.address) else ip for dialled in to.dialled)
    return [*short, *forms, *dict.fromkeys(addresses)]
