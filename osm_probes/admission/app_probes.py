"""Pod -> its probes, asked of the sidecar instead: the kubelet has no mesh identity, so inbound would refuse it.

httpGet, tcpSocket and gRPC are moved to the sidecar's probe ports; exec probes run in the container and stay.
A probe stays too where it names a `host` (it does not ask this pod) or a port that the container does not have: the
kubelet's own words about that are the best ones. Headers, timings and thresholds stay as they are.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from osm_probes.admission.json_patch import Operation, add, remove
from osm_probes.admission.pod import Container, Pod, Probe
from osm_probes.xds.app_probes import ProbeKind, ProbeScheme, RewrittenProbe


def rewrite_probes(pod: Pod) -> tuple[tuple[RewrittenProbe, ...], list[Operation]]:
    """The probes that the sidecar serves from now on, and the operations that point the kubelet to it.

    The operations name containers by their place in the original pod: apply them before any container is added.
    """
    probes: list[RewrittenProbe] = []
    operations: list[Operation] = []
    grpc_ports: dict[int, int] = {}
    for path, container, kind, probe in _probes(pod):
        rewritten = _rewritten(probe, container, kind)
        if rewritten is None:
            continue
        place = grpc_ports.setdefault(rewritten.port, len(grpc_ports)) if rewritten.scheme is ProbeScheme.GRPC else 0
        rewritten = replace(rewritten, place=place)
        probes.append(rewritten)
        operations.extend(_operations(path, rewritten))
    return tuple(probes), operations


def _probes(pod: Pod) -> Iterator[tuple[tuple[str | int, ...], Container, ProbeKind, Probe]]:
    containers = chain(
        ((("spec", "containers", index), each) for index, each in enumerate(pod.spec.containers)),
        ((("spec", "initContainers", index), each) for index, each in enumerate(pod.init_containers)),
    )
    for path, container in containers:
        for kind in ProbeKind:
            probe = getattr(container, f"{kind.value}_probe")
            if probe is not None:
                yield (*path, f"{kind.value}Probe"), container, kind, probe


def _rewritten(probe: Probe, container: Container, kind: ProbeKind) -> RewrittenProbe | None:
    if probe.http_get is not None and not probe.http_get.host:
        scheme = ProbeScheme.HTTPS if probe.http_get.scheme == "HTTPS" else ProbeScheme.HTTP
        stated, path = probe.http_get.port, probe.http_get.path or "/"
    elif probe.tcp_socket is not None and not probe.tcp_socket.host:
        scheme, stated, path = ProbeScheme.TCP, probe.tcp_socket.port, "/"
    elif probe.grpc is not None:
        scheme, stated, path = ProbeScheme.GRPC, probe.grpc.port, "/"
    else:
        return None
    port = _number(stated, container)
    return None if port is None else RewrittenProbe(kind, container.name, scheme, port, path)


def _number(port: int | str, container: Container) -> int | None:
    """As the kubelet looks it up: a name among the container's own ports, else a number. None: no such port."""
    if isinstance(port, str):
        named = [each.container_port for each in container.ports or () if each.name == port]
        port = named[0] if named else int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else 0
    return port if 0 < port < 65536 else None


def _operations(path: tuple[str | int, ...], probe: RewrittenProbe) -> list[Operation]:
    match probe.scheme:
        case ProbeScheme.GRPC:
            return [add(*path, "grpc", "port", value=probe.listening_port)]
        case ProbeScheme.TCP:
            action = {"path": probe.listening_path, "port": probe.listening_port, "scheme": "HTTP"}
            return [remove(*path, "tcpSocket"), add(*path, "httpGet", value=action)]
        case _:
            return [
                add(*path, "httpGet", "path", value=probe.listening_path),
                add(*path, "httpGet", "port", value=probe.listening_port),
                add(*path, "httpGet", "scheme", value="HTTP"),
            ]
