"""The contents of the CA Secret -> which CA signs, and which roots are trusted. Pure.

| keys that are present | signs | trusted |
|---|---|---|
| ca.crt, private.key | ca.crt | ca.crt |
| and previous.crt, previous.key | the first certificate of previous.crt | both |
| and previous.crt | ca.crt | both |

proxy-uuid.key is the key of the proxies' uuids, which is independent of the CA.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from osm_probes.foundation.errors import OsmError
from osm_probes.kube.wire import ObjectMeta, encode_secret_data
from osm_probes.mesh.labels import CA_SIGNS_SINCE
from osm_probes.mesh.proxy_uuid import UuidKey
from osm_probes.pki.authority import Authority, InvalidAuthorityError, latest_expiry
from osm_probes.pki.ca_folder import KEY_FILE, ROOT_FILE
from osm_probes.pki.trust import Trust, split_roots

ROOT_KEY: Final = ROOT_FILE
PRIVATE_KEY: Final = KEY_FILE
PREVIOUS_ROOT_KEY: Final = "previous.crt"
PREVIOUS_PRIVATE_KEY: Final = "previous.key"
UUID_KEY: Final = "proxy-uuid.key"
_KEYS: Final = (ROOT_KEY, PRIVATE_KEY, PREVIOUS_ROOT_KEY, PREVIOUS_PRIVATE_KEY, UUID_KEY)


class CaSecretError(OsmError):
    """The CA Secret cannot be used. It was not changed."""


class _Metadata(ObjectMeta, rename="camel"):
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


class _Secret(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    data: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class CaSecretContent:
    """The values of the Secret's keys, empty if missing; its resourceVersion, and its annotation CA_SIGNS_SINCE."""

    root_pem: bytes
    key_pem: bytes = field(repr=False)
    previous_pem: bytes = b""
    previous_key_pem: bytes = field(default=b"", repr=False)
    uuid_key: bytes = field(default=b"", repr=False)
    version: str = ""
    signs_since: str = ""

    @property
    def data(self) -> dict[str, str]:
        """The keys that are present, as the `data` of a Secret."""
        values = (self.root_pem, self.key_pem, self.previous_pem, self.previous_key_pem, self.uuid_key)
        return encode_secret_data({name: value for name, value in zip(_KEYS, values, strict=True) if value})


def decode_ca_secret(secret: bytes) -> CaSecretContent:
    """The contents of a Secret, from its JSON. Raises CaSecretError."""
    try:
        decoded = msgspec.json.decode(secret, type=_Secret)
        data = decoded.data or {}
        root, key, previous, previous_key, uuid_key = (
            base64.b64decode(data.get(name, ""), validate=True) for name in _KEYS
        )
    except (msgspec.DecodeError, binascii.Error) as error:
        raise CaSecretError(f"the Secret of the certificate authority cannot be read: {error}") from error
    version, annotations = decoded.metadata.resource_version, decoded.metadata.annotations
    return CaSecretContent(root, key, previous, previous_key, uuid_key, version, annotations.get(CA_SIGNS_SINCE, ""))


@dataclass(frozen=True, slots=True)
class Authorities:
    """The CAs in the Secret.

    target: the CA of `ca.crt`, which signs once the rotation to it is far enough. previous: the CA that signs until
    then; None if `target` signs. previous_roots: the unexpired roots of `previous.crt`. roots: all trusted roots.
    """

    target: Authority
    previous: Authority | None
    previous_roots: tuple[bytes, ...]
    roots: tuple[bytes, ...]


def load_authorities(content: CaSecretContent) -> Authorities:
    """The CAs that the keys describe. Expired previous roots are left out: nothing that they signed is valid.

    Raises InvalidAuthorityError if a key is missing, a private key does not match its certificate, or the CA has
    expired or may not sign.
    """
    for name, value in ((ROOT_KEY, content.root_pem), (PRIVATE_KEY, content.key_pem)):
        if not value:
            raise InvalidAuthorityError(f"it has no {name}")
    target = Authority.load(content.root_pem, content.key_pem)
    all_previous = split_roots(content.previous_pem)
    now = datetime.now(UTC)
    unexpired = tuple(root for root in all_previous if latest_expiry(root) > now)
    previous = None
    if content.previous_key_pem:
        if not all_previous:
            raise InvalidAuthorityError(f"it has {PREVIOUS_PRIVATE_KEY}, but no {PREVIOUS_ROOT_KEY}")
        if all_previous[0] in unexpired:
            previous = Authority.load(all_previous[0], content.previous_key_pem)
    return Authorities(target, previous, unexpired, (*split_roots(content.root_pem), *unexpired))


def next_trust(authorities: Authorities, *, current: Trust | None = None) -> Trust:
    """The trust after the Secret was read; current: the trust until now, None at the start.

    A new CA that was put into the Secret without the previous one is trusted, and the current CA keeps signing.
    """
    if authorities.previous is not None:
        return Trust.of(authorities.previous, authorities.roots)
    trusted = (authorities.target.root_pem, *authorities.previous_roots)
    if current is None or current.signer.root_pem in trusted or _expired(current):
        return Trust.of(authorities.target, authorities.roots)
    return Trust.of(current.signer, (*authorities.roots, *split_roots(current.roots_pem)))


def _expired(trust: Trust) -> bool:
    return trust.signer.not_after <= datetime.now(UTC)


def trust_patch(content: CaSecretContent, trust: Trust) -> dict[str, Any]:
    """The first step of a rotation, as a merge patch: the current signer keeps signing as the previous CA."""
    others = [root for root in split_roots(content.previous_pem) if root != trust.signer.root_pem]
    previous = b"".join([trust.signer.root_pem, *others])
    return {"data": encode_secret_data({PREVIOUS_ROOT_KEY: previous, PREVIOUS_PRIVATE_KEY: trust.signer.key_pem})}


def sign_patch(at: datetime) -> dict[str, Any]:
    """The second step of a rotation, as a merge patch: the CA of `ca.crt` signs from now on."""
    since = at.isoformat(timespec="seconds")
    return {"metadata": {"annotations": {CA_SIGNS_SINCE: since}}, "data": {PREVIOUS_PRIVATE_KEY: None}}


def retire_patch() -> dict[str, Any]:
    """The last step of a rotation, as a merge patch: only the roots of `ca.crt` are trusted."""
    data = {PREVIOUS_ROOT_KEY: None, PREVIOUS_PRIVATE_KEY: None}
    return {"metadata": {"annotations": {CA_SIGNS_SINCE: None}}, "data": data}


def uuid_key_patch(key: UuidKey) -> dict[str, Any]:
    """The key of the proxies' uuids, as a merge patch."""
    return {"data": encode_secret_data({UUID_KEY: key.key})}


def signs_since(content: CaSecretContent) -> datetime | None:
    """When the CA of `ca.crt` began to sign; None if the annotation is missing or is no time with a zone."""
    try:
        since = datetime.fromisoformat(content.signs_since)
    except ValueError:
        return None
    return since if since.tzinfo else None
