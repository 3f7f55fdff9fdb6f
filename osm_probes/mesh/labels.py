"""The labels and annotations of Kubernetes objects that a mesh reads or writes."""

import re
from typing import Final

PREFIX: Final = "openservicemesh.io/"
"""The prefix of the mesh's own labels and annotations, except PROXY_UUID."""

# On namespaces.
MONITORED_BY: Final = PREFIX + "monitored-by"
IGNORE: Final = PREFIX + "ignore"
METRICS: Final = PREFIX + "metrics"

# On namespaces and pods.
INJECTION: Final = PREFIX + "sidecar-injection"

# On pods.
PROXY_UUID: Final = "osm-proxy-uuid"
PROXY_UUID_PATTERN: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
"""The values of PROXY_UUID that name a proxy; other values are ignored."""
INBOUND_PORT_EXCLUSIONS: Final = PREFIX + "inbound-port-exclusion-list"
OUTBOUND_PORT_EXCLUSIONS: Final = PREFIX + "outbound-port-exclusion-list"
OUTBOUND_IP_RANGE_EXCLUSIONS: Final = PREFIX + "outbound-ip-range-exclusion-list"
OUTBOUND_IP_RANGE_INCLUSIONS: Final = PREFIX + "outbound-ip-range-inclusion-list"

# On Secrets.
TRUST_FINGERPRINT: Final = PREFIX + "trust"
"""The fingerprint of the CA certificates that a bootstrap Secret's certificate and roots come from."""
CERTIFICATE_EXPIRES: Final = PREFIX + "certificate-expires"
"""The time (RFC 3339) when the certificate in a bootstrap Secret expires."""
BOOTSTRAP_MAC: Final = PREFIX + "bootstrap-mac"
"""The proof that the injector made a bootstrap Secret, see `mesh/proxy_uuid.py`."""
CA_SIGNS_SINCE: Final = PREFIX + "ca-signs-since"
"""The time (RFC 3339) when `ca.crt` of the CA Secret began to sign. Set while the previous root is still trusted."""

# On the control plane's Deployments and pods.
APP: Final = "app"
MESH_NAME: Final = "meshName"

# Labels that Kubernetes defines.
APP_VERSION: Final = "app.kubernetes.io/version"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
SERVICE_NAME: Final = "kubernetes.io/service-name"
"""On an EndpointSlice: the name of its Service."""
OS: Final = "kubernetes.io/os"
