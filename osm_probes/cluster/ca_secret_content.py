"""What the Secret of the certificate authority holds, and what follows for who signs and who is trusted. Pure.

| keys that are there | who signs | who is trusted |
|---|---|---|
| ca.crt, private.key | ca.crt | ca.crt |
| and previous.crt, previous.key | the first of previous.crt | both |
| and previous.crt | ca.crt | both |
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from osm_probes.foundation.errors import OsmError
from osm_probes.kube.wire import Meta, secret_data
from osm_probes.mesh.labels import CA_SIGNS_SINCE
from osm_probes.pki.authority import Authority, InvalidAuthorityError, ends_at
from osm_probes.pki.trust import Trust, roots_of

ROOT_KEY: Final = "ca.crt"
PRIVATE_KEY: Final = "private.key"
PREVIOUS_ROOT_KEY: Final = "previous.crt"
PREVIOUS_PRIVATE_KEY: Final = "previous.key"
_KEYS: Final = (ROOT_KEY, PRIVATE_KEY, PREVIOUS_ROOT_KEY, PREVIOUS_PRIVATE_KEY)


class AuthoritySecretError(OsmError):
    """The Secret of the certificate authority cannot be used; nothing in it was changed."""


class _Metadata(Meta, rename="camel"):
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


class _Secret(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    data: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """The keys of the Secret as they stand there, empty where they are missing; its version, and CA_SIGNS_SINCE."""

    root_pem: bytes
    key_pem: bytes = field(repr=False)
    previous_pem: bytes = b""
    previous_key_pem: bytes = field(default=b"", repr=False)
    version: str = ""
    signs_since: str = ""

    @property
    def data(self) -> dict[str, str]:
        """The keys that are there, as a Secret has them."""
        values = (self.root_pem, self.key_pem, self.previous_pem, self.previous_key_pem)
        return secret_data({name: value for name, value in zip(_KEYS, values, strict=True) if value})


def content_of(secret: bytes) -> Content:
    """A Secret's JSON -> its keys. Raises AuthoritySecretError."""
    try:
        found = msgspec.json.decode(secret, type=_Secret)
        data = found.data or {}
        root, key, previous, previous_key = (base64.b64decode(data.get(name, ""), validate=True) for name in _KEYS)
    except (msgspec.DecodeError, binascii.Error) as error:
        raise AuthoritySecretError(f"the Secret of the certificate authority cannot be read: {error}") from error
    version, annotations = found.metadata.resource_version, found.metadata.annotations
    return Content(root, key, previous, previous_key, version, annotations.get(CA_SIGNS_SINCE, ""))


@dataclass(frozen=True, slots=True)
class Authorities:
    """The authority that shall sign; the one before it, as long as that still signs; the roots before it."""

    wanted: Authority
    previous: Authority | None
    former: tuple[bytes, ...]
    roots: tuple[bytes, ...]


def authorities(content: Content) -> Authorities:
    """What the keys say. Raises InvalidAuthorityError: a key is missing, or a pair is none, has ended or may not sign.

    Roots before this one that have ended are left out: nothing that they signed is valid.
    """
    for name, value in ((ROOT_KEY, content.root_pem), (PRIVATE_KEY, content.key_pem)):
        if not value:
            raise InvalidAuthorityError(f"it has no {name}")
    wanted = Authority.load(content.root_pem, content.key_pem)
    kept = roots_of(content.previous_pem)
    now = datetime.now(UTC)
    former = tuple(root for root in kept if ends_at(root) > now)
    previous = None
    if content.previous_key_pem:
        if not kept:
            raise InvalidAuthorityError(f"it has {PREVIOUS_PRIVATE_KEY}, but no {PREVIOUS_ROOT_KEY}")
        if kept[0] in former:
            previous = Authority.load(kept[0], content.previous_key_pem)
    return Authorities(wanted, previous, former, (*roots_of(content.root_pem), *former))


def trust_of(found: Authorities, *, now: Trust | None = None) -> Trust:
    """Who signs and who is trusted, after `now`: a pair that came without a word is trusted before it signs."""
    if found.previous is not None:
        return Trust.of(found.previous, found.roots)
    if now is None or now.signer.root_pem in (found.wanted.root_pem, *found.former) or _ended(now):
        return Trust.of(found.wanted, found.roots)
    return Trust.of(now.signer, (*found.roots, *roots_of(now.roots_pem)))


def _ended(trust: Trust) -> bool:
    return trust.signer.not_after <= datetime.now(UTC)


def recorded(content: Content, now: Trust) -> dict[str, Any]:
    """The change after which the Secret says that `now`'s signer signs until the pair in it is trusted everywhere."""
    others = [root for root in roots_of(content.previous_pem) if root != now.signer.root_pem]
    previous = b"".join([now.signer.root_pem, *others])
    return {"data": secret_data({PREVIOUS_ROOT_KEY: previous, PREVIOUS_PRIVATE_KEY: now.signer.key_pem})}


def signing(at: datetime) -> dict[str, Any]:
    """The change after which the pair in the Secret signs."""
    since = at.isoformat(timespec="seconds")
    return {"metadata": {"annotations": {CA_SIGNS_SINCE: since}}, "data": {PREVIOUS_PRIVATE_KEY: None}}


def retired() -> dict[str, Any]:
    """The change after which no root but that of the pair in the Secret is trusted."""
    data = {PREVIOUS_ROOT_KEY: None, PREVIOUS_PRIVATE_KEY: None}
    return {"metadata": {"annotations": {CA_SIGNS_SINCE: None}}, "data": data}


def signs_since(content: Content) -> datetime | None:
    """When the pair in the Secret began to sign; None where that is not said, or not as a time."""
    try:
        said = datetime.fromisoformat(content.signs_since)
    except ValueError:
        return None
    return said if said.tzinfo else None
