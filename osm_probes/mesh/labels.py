"""Vocabulary: the labels and annotations of namespaces, pods and Secrets, by which a mesh is told."""

import re
from typing import Final

PREFIX: Final = "openservicemesh.io/"
"""The prefix of all labels and annotations of a mesh but PROXY_UUID."""

# On namespaces.
MONITORED_BY: Final = PREFIX + "monitored-by"
IGNORE: Final = PREFIX + "ignore"
METRICS: Final = PREFIX + "metrics"

# On namespaces and pods.
INJECTION: Final = PREFIX + "sidecar-injection"

# On pods.
PROXY_UUID: Final = "osm-proxy-uuid"
INBOUND_PORTS: Final = PREFIX + "inbound-port-exclusion-list"
OUTBOUND_PORTS: Final = PREFIX + "outbound-port-exclusion-list"
EXCLUDED_RANGES: Final = PREFIX + "outbound-ip-range-exclusion-list"
INCLUDED_RANGES: Final = PREFIX + "outbound-ip-range-inclusion-list"

# On Secrets.
TRUST_MARK: Final = PREFIX + "trust"
"""The fingerprint of the trust that a bootstrap Secret's certificate and roots belong to."""
CA_SIGNS_SINCE: Final = PREFIX + "ca-signs-since"
"""When `ca.crt` of the CA Secret began to sign, in RFC 3339, while the root before it is still trusted."""

UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
"""The values of PROXY_UUID that name a proxy."""
