"""The JSON of /debug/proxies, which `osm proxy list` reads. It contains no keys and no configuration."""

from collections.abc import Mapping

import msgspec


class RejectedVersion(msgspec.Struct, frozen=True):
    """The last version that a proxy rejected (NACK), with its error message."""

    type: str
    version: str
    reason: str


class ProxyStatus(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A proxy with an open stream. accepted: versions by resource type. connected: age of the stream in seconds."""

    uuid: str
    namespace: str
    service_account: str
    pod: str
    protocol: str
    connected: float
    accepted: Mapping[str, str]
    rejected: RejectedVersion | None = None


class ConnectedProxies(msgspec.Struct, frozen=True):
    """count: all connected proxies. proxies: the first 10,000 of them."""

    count: int
    proxies: list[ProxyStatus]
