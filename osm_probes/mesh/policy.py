"""Vocabulary: who may call whom, and how calls to a service are shared out among others."""

from dataclasses import dataclass

from osm_probes.mesh.identity import Identity


@dataclass(frozen=True, slots=True, order=True)
class Requests:
    """HTTP requests that are alike. The path, without its query, and each header must match a regular expression whole.

    An empty path is any, no methods are all. `headers`: names in lower case, each with its expression, never empty.
    """

    path: str = ""
    methods: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Permission:
    """What `sources` may ask of `destination`: these requests of HTTP ports; if `connections`, anything of TCP ports.

    Both hold on these `ports` of the pods only, on all if there are none. `name` is the policy's, `namespace/name`.
    Sorted sources (at least one), requests and ports.
    """

    name: str
    destination: Identity
    sources: tuple[Identity, ...]
    requests: tuple[Requests, ...] = ()
    connections: bool = False
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Split:
    """Calls to a service go to others of its namespace, in these shares: names with weights above 0, sorted by name."""

    namespace: str
    service: str
    backends: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, order=True)
class Ignored:
    """A policy, or a rule of one, that has no effect, and why: for the operator."""

    policy: str
    reason: str
