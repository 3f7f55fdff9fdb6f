"""Pod -> its probes, sent to the sidecar instead. The kubelet has no certificate of the mesh for the inbound listener.

httpGet, tcpSocket and gRPC probes are moved to the sidecar's probe ports. exec probes run in the container and stay. A
probe also stays if it names a `host`, because it does not go to this pod, or a port that the container does not have,
because the kubelet's own error message is the best one. Headers, timings and thresholds are not changed.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from osm_probes.admission.json_patch import Operation, add, remove
from osm_probes.admission.pod import Container, Pod, Probe
from osm_probes.xds.app_probes import ProbeKind, ProbeScheme, RewrittenProbe


def rewrite_app_probes(pod: Pod) -> tuple[tuple[RewrittenProbe, ...], list[Operation]]:
    """The probes that the sidecar serves, and the patch operations that make the kubelet send them there.

    The operations use the indices of containers in the original pod: apply them before a container is added.
    """
    rewritten: list[RewrittenProbe] = []
    operations: list[Operation] = []
    grpc_indices: dict[int, int] = {}
    for path, container, kind, probe in _probes(pod):
        new = _rewrite(probe, container, kind)
        if new is None:
            continue
        if new.scheme is ProbeScheme.GRPC:
            new = replace(new, grpc_index=grpc_indices.setdefault(new.port, len(grpc_indices)))
        rewritten.append(new)
        operations.extend(_operations(path, new))
    return tuple(rewritten), operations


def _probes(pod: Pod) -> Iterator[tuple[tuple[str | int, ...], Container, ProbeKind, Probe]]:
    """Each probe with its path in the pod, its container and its kind."""
    containers = chain(
        ((("spec", "containers", index), container) for index, container in enumerate(pod.spec.containers)),
        ((("spec", "initContainers", index), container) for index, container in enumerate(pod.init_containers)),
    )
    for path, container in containers:
        for kind in ProbeKind:
            probe = getattr(container, f"{kind.value}_probe")
            if probe is not None:
                yield (*path, f"{kind.value}Probe"), container, kind, probe


def _rewrite(probe: Probe, container: Container, kind: ProbeKind) -> RewrittenProbe | None:
    if probe.http_get is not None and not probe.http_get.host:
        scheme = ProbeScheme.HTTPS if probe.http_get.scheme == "HTTPS" else ProbeScheme.HTTP
        port, path = probe.http_get.port, probe.http_get.path or "/"
    elif probe.tcp_socket is not None and not probe.tcp_socket.host:
        scheme, port, path = ProbeScheme.TCP, probe.tcp_socket.port, "/"
    elif probe.grpc is not None:
        scheme, port, path = ProbeScheme.GRPC, probe.grpc.port, "/"
    else:
        return None
    number = _port_number(port, container)
    return None if number is None else RewrittenProbe(kind, container.name, scheme, number, path)


def _port_number(port: int | str, container: Container) -> int | None:
    """Resolve a port as the kubelet does: a name of the container's own ports, else a number. None: no such port."""
    if isinstance(port, str):
        named = [found.container_port for found in container.ports or () if found.name == port]
        port = named[0] if named else int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else 0
    return port if 0 < port < 65536 else None


def _operations(path: tuple[str | int, ...], probe: RewrittenProbe) -> list[Operation]:
    match probe.scheme:
        case ProbeScheme.GRPC:
            return [add(*path, "grpc", "port", value=probe.sidecar_port)]
        case ProbeScheme.TCP:
            action = {"path": probe.sidecar_path, "port": probe.sidecar_port, "scheme": "HTTP"}
            return [remove(*path, "tcpSocket"), add(*path, "httpGet", value=action)]
        case _:
            return [
                add(*path, "httpGet", "path", value=probe.sidecar_path),
                add(*path, "httpGet", "port", value=probe.sidecar_port),
                add(*path, "httpGet", "scheme", value="HTTP"),
            ]
