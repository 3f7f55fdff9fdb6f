"""The limit of open files -> how many proxies can be served, with a reserve for everything else."""

import resource
from dataclasses import dataclass
from typing import Final

_RESERVE: Final = 256
_LEAST: Final = 64
_SPARE_CONNECTIONS: Final = 64


@dataclass(frozen=True, slots=True)
class Capacity:
    """connections: sockets that the ADS accepts. streams: proxies that it serves, fewer: refusals need a socket."""

    connections: int
    streams: int


def capacity_of_process() -> Capacity:
    """What this process's limit of open files allows. The soft limit is raised to the hard limit first."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    connections = max(_LEAST + _SPARE_CONNECTIONS, hard - _RESERVE)
    return Capacity(connections, connections - _SPARE_CONNECTIONS)


def max_streams(capacity: Capacity, *, flag: int, setting: int) -> int:
    """The flag, else the MeshConfig's setting (0 means not given), and never more than open files allow."""
    return min(flag or setting or capacity.streams, capacity.streams)
