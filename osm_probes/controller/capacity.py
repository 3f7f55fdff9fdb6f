"""Descriptors -> how many proxies can be served, with a reserve so that probes and renewals always find one."""

import resource
from dataclasses import dataclass
from typing import Final

_RESERVE: Final = 256
_LEAST: Final = 64
_SPARE_CONNECTIONS: Final = 64


@dataclass(frozen=True, slots=True)
class Capacity:
    """connections: sockets that the ADS accepts; streams: proxies that it serves, fewer, so a refusal has words."""

    connections: int
    streams: int


def capacity() -> Capacity:
    """What this process's limit of descriptors allows; the soft limit is raised to the hard one first."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    connections = max(_LEAST + _SPARE_CONNECTIONS, hard - _RESERVE)
    return Capacity(connections, connections - _SPARE_CONNECTIONS)


def streams_at_most(found: Capacity, *, flag: int, setting: int) -> int:
    """The flag before the MeshConfig's setting (0 = not given), and never more than descriptors allow."""
    return min(flag or setting or found.streams, found.streams)
