"""Names of Envoy resources, the same as in Open Service Mesh. They appear in proxies' statistics and config dumps."""

from typing import Final

from osm_probes.mesh.identity import Identity
from osm_probes.mesh.names import CONTROLLER, SERVICE_DOMAINS, service_dns_name
from osm_probes.xds.destination import Destination

INBOUND_LISTENER: Final = "inbound-listener"
OUTBOUND_LISTENER: Final = "outbound-listener"
PROMETHEUS_LISTENER: Final = "inbound-prometheus-listener"
PASSTHROUGH_CLUSTER: Final = "passthrough-outbound"
METRICS_CLUSTER: Final = "envoy-metrics-cluster"
ADS_CLUSTER: Final = CONTROLLER


def cluster_name(destination: Destination) -> str:
    """The cluster of traffic to a destination, and its load assignment: `ns/svc|port`."""
    return f"{destination.namespace}/{destination.service}|{destination.number}"


def local_cluster_name(destination: Destination, *, target: int) -> str:
    """The cluster of the application behind its own sidecar: `ns/svc|target|local`."""
    return f"{destination.namespace}/{destination.service}|{target}|local"


def server_name(destination: Destination) -> str:
    """The server name (SNI) that callers' sidecars send in the TLS handshake."""
    return service_dns_name(destination.service, destination.namespace)


def outbound_routes_name(destination: Destination) -> str:
    """The outbound route configuration: one for each port, shared by all services; a headless service has its own."""
    return f"rds-outbound.{cluster_name(destination) if destination.headless else destination.number}"


def inbound_routes_name(destination: Destination, *, target: int) -> str:
    """The inbound route configuration of a port of the application."""
    return f"rds-inbound.{destination.namespace}/{destination.service}|{target}"


def certificate_secret_name(identity: Identity) -> str:
    """The secret with an identity's own certificate and key: `service-cert:ns/sa`."""
    return f"service-cert:{identity}"


def outbound_validation_name(destination: Destination) -> str:
    """The secret that verifies the certificates of a service: `root-cert-for-mtls-outbound:ns/svc`."""
    return f"root-cert-for-mtls-outbound:{destination.namespace}/{destination.service}"


def inbound_validation_name(identity: Identity) -> str:
    """The secret that verifies the certificates of HTTP callers: `root-cert-for-mtls-inbound:ns/sa`."""
    return f"root-cert-for-mtls-inbound:{identity}"


def tcp_inbound_validation_name(destination: Destination, *, target: int) -> str:
    """The secret that verifies the certificates of TCP callers: `root-cert-for-mtls-inbound:ns/svc|target`."""
    return f"root-cert-for-mtls-inbound:{destination.namespace}/{destination.service}|{target}"


def virtual_host_domains(destination: Destination, *, caller_namespace: str) -> list[str]:
    """The hosts, without port, that a caller may use for a destination: DNS names and IP addresses, each once."""
    name = f"{destination.service}.{destination.namespace}"
    short = [destination.service] if destination.namespace == caller_namespace else []
    addresses = (f"[{ip}]" if ":" in (ip := dialled.address) else ip for dialled in destination.dialled)
    return [*short, *(name + domain for domain in SERVICE_DOMAINS), *dict.fromkeys(addresses)]
