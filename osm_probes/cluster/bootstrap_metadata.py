"""The metadata of a Secret -> that of a bootstrap Secret. Its labels and annotations may be written by users. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec

from osm_probes.admission.pod import bootstrap_secret_name
from osm_probes.kube.errors import KubernetesError
from osm_probes.kube.kind import SECRETS
from osm_probes.kube.list_options import ListOptions
from osm_probes.mesh.labels import (
    BOOTSTRAP_MAC,
    CERTIFICATE_EXPIRES,
    MANAGED_BY,
    PROXY_UUID,
    PROXY_UUID_PATTERN,
    TRUST_FINGERPRINT,
)
from osm_probes.mesh.names import INJECTOR

# The clocks of two replicas may differ by this.
_CLOCK_DIFFERENCE: Final = timedelta(hours=1)


def bootstrap_secrets_in(namespace: str) -> ListOptions:
    """Selects the metadata of the Secrets of a namespace that look as if the injector had made them."""
    labels = f"{PROXY_UUID},{MANAGED_BY}={INJECTOR}"
    return ListOptions(SECRETS, namespace=namespace, labels=labels, fields="type=Opaque", metadata=True)


@dataclass(frozen=True, slots=True)
class BootstrapSecret:
    """The metadata of a bootstrap Secret.

    proxy: the proxy's uuid, well-formed. owned: it has an owner, with which Kubernetes deletes it. trust: the
    fingerprint of the trust that its certificate and roots come from. expires: when its certificate expires; None if
    unknown. mac: the proof that the injector made it; "" if there is none.
    """

    namespace: str
    name: str
    uid: str
    version: str
    proxy: str
    owned: bool
    trust: str
    expires: datetime | None = None
    mac: str = ""

    def is_current(self, trust: str, *, validity: timedelta, now: datetime) -> bool:
        """Whether its content comes from this trust, and less than half of the certificate's validity has passed."""
        if self.trust != trust or self.expires is None:
            return False
        left = self.expires - now
        # A time that no certificate of this validity can have was written by somebody else.
        return validity / 2 < left <= validity + _CLOCK_DIFFERENCE


class _Metadata(msgspec.Struct, rename="camel"):
    name: str
    namespace: str
    uid: str
    resource_version: str
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[msgspec.Raw] = []
    deletion_timestamp: str | None = None


class _Secret(msgspec.Struct):
    metadata: _Metadata


def decode_bootstrap_secret(content: bytes) -> BootstrapSecret | None:
    """The metadata of a Secret, as JSON; None if it is no bootstrap Secret or is being deleted.

    Raises KubernetesError.
    """
    try:
        metadata = msgspec.json.decode(content, type=_Secret).metadata
    except msgspec.DecodeError as error:
        raise KubernetesError(f"the metadata of a Secret cannot be decoded: {error}") from error
    proxy = metadata.labels.get(PROXY_UUID, "")
    # First of all: the label may be any text, and the proxy's name becomes part of names and certificates.
    if not PROXY_UUID_PATTERN.match(proxy):
        return None
    if metadata.name != bootstrap_secret_name(proxy) or metadata.deletion_timestamp:
        return None
    return BootstrapSecret(
        metadata.namespace,
        metadata.name,
        metadata.uid,
        metadata.resource_version,
        proxy,
        owned=bool(metadata.owner_references),
        trust=metadata.annotations.get(TRUST_FINGERPRINT, ""),
        expires=_parse_time(metadata.annotations.get(CERTIFICATE_EXPIRES, "")),
        mac=metadata.annotations.get(BOOTSTRAP_MAC, ""),
    )


def _parse_time(text: str) -> datetime | None:
    """A time with a zone; None for any other text."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else None
