"""Names: of the control plane's programs, certificates and objects, of services in DNS, and Kubernetes' rules."""

import re
from typing import Final

_LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_LABEL: Final = re.compile(_LABEL)
_DNS_SUBDOMAIN: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*")

# The programs: the value of label APP on their pods, and the names of their Deployments.
CONTROLLER: Final = "osm-controller"
INJECTOR: Final = "osm-injector"

# The names in an installation that does not choose others.
DEFAULT_NAMESPACE: Final = "osm-system"
DEFAULT_MESH_NAME: Final = "osm"
DEFAULT_TRUST_DOMAIN: Final = "cluster.local"
DEFAULT_CA_BUNDLE: Final = "osm-ca-bundle"
"""The Secret with the certificate authority."""
DEFAULT_MESH_CONFIG: Final = "osm-mesh-config"

CLUSTER_DOMAIN: Final = "cluster.local"
"""The DNS domain of a cluster's services."""
SERVICE_DOMAINS: Final = ("", ".svc", ".svc.cluster", f".svc.{CLUSTER_DOMAIN}")
"""What may follow `<service>.<namespace>` in a DNS name of a service."""


def is_dns_label(text: str) -> bool:
    """Whether Kubernetes accepts this as the name of a namespace (RFC 1123: a label, 63 characters)."""
    return len(text) <= 63 and _DNS_LABEL.fullmatch(text) is not None


def is_dns_subdomain(text: str) -> bool:
    """Whether Kubernetes accepts this as the name of a pod or a service account (RFC 1123: 253 characters)."""
    return len(text) <= 253 and _DNS_SUBDOMAIN.fullmatch(text) is not None


def service_dns_name(service: str, namespace: str) -> str:
    """The fully qualified DNS name of a service."""
    return f"{service}.{namespace}{SERVICE_DOMAINS[-1]}"


def controller_server_name(namespace: str) -> str:
    """The DNS name in the ADS certificate of a controller in that namespace."""
    return service_dns_name(CONTROLLER, namespace)


def webhook_server_name(namespace: str) -> str:
    """The DNS name in the webhook certificate of an injector in that namespace."""
    return f"{INJECTOR}.{namespace}.svc"
