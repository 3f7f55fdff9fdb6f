"""Who may call whom, and how the traffic of a service is split."""

from dataclasses import dataclass

from osm_probes.mesh.identity import Identity


@dataclass(frozen=True, slots=True, order=True)
class RequestMatch:
    """A condition on HTTP requests. The path without its query, and each header, must fully match a regular expression.

    path: "" matches every path. methods: empty matches every method. headers: lower-case names, each with its regular
    expression, which is never empty.
    """

    path: str = ""
    methods: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Permission:
    """What `sources` may do with `destination`: send the matching requests to HTTP ports, and connect to TCP ports.

    name: `namespace/name` of the policy. requests: HTTP requests that are permitted. connections: whether TCP
    connections are permitted. ports: the ports of the pods that both are limited to; empty means all ports. There is at
    least one source; sources, requests and ports are sorted.
    """

    name: str
    destination: Identity
    sources: tuple[Identity, ...]
    requests: tuple[RequestMatch, ...] = ()
    connections: bool = False
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Split:
    """A service's traffic goes to other services of its namespace. backends: names with weights above 0, by name."""

    namespace: str
    service: str
    backends: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, order=True)
class IgnoredPolicy:
    """A policy, or a rule of one, that has no effect, and the reason."""

    policy: str
    reason: str
