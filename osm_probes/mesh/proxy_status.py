"""Vocabulary: what /debug/proxies says of connected proxies, and `osm proxy list` reads: no key, no configuration."""

from collections.abc import Mapping

import msgspec


class Refused(msgspec.Struct, frozen=True):
    """The last version that a proxy rejected, and its words."""

    type: str
    version: str
    reason: str


class ProxyFacts(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A proxy with an open stream: `accepted` versions by type, `connected` in seconds."""

    uuid: str
    namespace: str
    service_account: str
    pod: str
    protocol: str
    connected: float
    accepted: Mapping[str, str]
    rejected: Refused | None = None


class Connected(msgspec.Struct, frozen=True):
    """All of them are `count`; told are 10,000 at most."""

    count: int
    proxies: list[ProxyFacts]
