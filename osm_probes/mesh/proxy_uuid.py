"""Identity + key -> uuid of a proxy, which nobody without the key can make for another identity. Pure.

A pod's uuid is in a label, which users can write. So the uuid itself contains a message authentication code (MAC) of
the pod's namespace and service account. It is a UUID of version 8 (RFC 9562, 5.8), whose 122 free bits are:

| bits | content |
|---|---|
| 58 | random |
| 64 | the first bits of HMAC-SHA256(key, these random bits, namespace, service account) |

Pods that an earlier version injected have a random uuid (version 4), which proves nothing.
"""

import hashlib
import hmac
import secrets
import uuid
from dataclasses import dataclass, field
from typing import Final

from osm_probes.foundation.errors import OsmError
from osm_probes.mesh.identity import Identity
from osm_probes.mesh.labels import PROXY_UUID_PATTERN

KEY_SIZE: Final = 32
_BOUND: Final = 8
_RANDOM_BITS: Final = 58
_MAC_BITS: Final = 64
_LOW_BITS: Final = 62  # after the variant
_MIDDLE_BITS: Final = 12  # between version and variant


class InvalidUuidKeyError(OsmError):
    """A stored key does not have the length of a key."""


@dataclass(frozen=True, slots=True)
class UuidKey:
    """The control plane's key of proxies' uuids. Raises InvalidUuidKeyError if it does not have 32 bytes."""

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != KEY_SIZE:
            raise InvalidUuidKeyError(f"the key of the proxies' uuids has {len(self.key)} bytes instead of {KEY_SIZE}")

    @classmethod
    def create(cls) -> "UuidKey":
        """A new random key."""
        return cls(secrets.token_bytes(KEY_SIZE))

    def new_uuid(self, identity: Identity) -> str:
        """A new uuid for a proxy with this identity."""
        return self._uuid(secrets.randbits(_RANDOM_BITS), identity)

    def made(self, proxy: str, *, identity: Identity) -> bool:
        """Whether this key made the uuid, for this identity."""
        if not is_bound(proxy):
            return False
        return hmac.compare_digest(self._uuid(_free_bits(proxy) >> _MAC_BITS, identity), proxy)

    def secret_mac(self, name: str, *, identity: Identity) -> str:
        """The proof that the injector made the Secret `name` in the identity's namespace: 64 hexadecimal characters."""
        return self._mac("bootstrap Secret", name, identity).hex()

    def made_secret(self, mac: str, *, name: str, identity: Identity) -> bool:
        """Whether `mac` is the proof for this Secret."""
        return hmac.compare_digest(self.secret_mac(name, identity=identity).encode(), mac.encode())

    def _uuid(self, random: int, identity: Identity) -> str:
        mac = self._mac("proxy uuid", f"{random:x}", identity)
        free = random << _MAC_BITS | int.from_bytes(mac[: _MAC_BITS // 8], "big")
        high, rest = free >> (_LOW_BITS + _MIDDLE_BITS), free & ((1 << (_LOW_BITS + _MIDDLE_BITS)) - 1)
        middle, low = rest >> _LOW_BITS, rest & ((1 << _LOW_BITS) - 1)
        return str(uuid.UUID(int=high << 80 | _BOUND << 76 | middle << 64 | 0b10 << _LOW_BITS | low))

    def _mac(self, purpose: str, value: str, identity: Identity) -> bytes:
        # With its length before each part, no two different lists of parts are the same message.
        parts = [part.encode() for part in (purpose, value, identity.namespace, identity.service_account)]
        message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self.key, message, hashlib.sha256)


def random_uuid(_identity: Identity) -> str:
    """A new uuid that is bound to nothing, for an injector without a key."""
    return str(uuid.uuid4())


def is_bound(proxy: str) -> bool:
    """Whether this text is a uuid that claims to be bound to an identity."""
    return PROXY_UUID_PATTERN.match(proxy) is not None and uuid.UUID(proxy).version == _BOUND


def _free_bits(proxy: str) -> int:
    """The 122 bits of a uuid that are neither its version nor its variant."""
    value = uuid.UUID(proxy).int
    high, middle, low = value >> 80, value >> 64 & 0xFFF, value & ((1 << _LOW_BITS) - 1)
    return (high << _MIDDLE_BITS | middle) << _LOW_BITS | low
