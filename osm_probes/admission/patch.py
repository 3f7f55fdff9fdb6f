"""Pod -> JSON patch that adds a sidecar, without I/O: the same pod and uuid give the same patch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from osm_probes.admission.annotations import parse_enabled, parse_ip_ranges, parse_ports
from osm_probes.admission.app_probes import rewrite_app_probes
from osm_probes.admission.json_patch import Operation, add
from osm_probes.admission.options import InjectionOptions
from osm_probes.admission.pod import SIDECAR_NAME, InjectionError, Pod, bootstrap_secret_name
from osm_probes.admission.redirect import RedirectRules, redirect_rules
from osm_probes.admission.sidecar import (
    INIT_NAME,
    VOLUME_NAME,
    Json,
    bootstrap_volume,
    envoy_container,
    init_container,
)
from osm_probes.mesh import labels
from osm_probes.mesh.identity import SIDECAR, ProxyName
from osm_probes.mesh.mesh import NamespaceMetadata
from osm_probes.mesh.ports import PROXY_METRICS_PATH, PROXY_METRICS_PORT
from osm_probes.xds.app_probes import ProbeScheme, RewrittenProbe

_PROMETHEUS_ANNOTATIONS: Final = {
    "prometheus.io/scrape": "true",
    "prometheus.io/port": str(PROXY_METRICS_PORT),
    "prometheus.io/path": PROXY_METRICS_PATH,
}


_ARGUMENT_LIMIT: Final = 128 * 1024 - 1  # Linux' MAX_ARG_STRLEN


class RulesTooLongError(InjectionError):
    """The redirect rules for the pod's annotations do not fit into the init container's command; the text says why."""


class NameTakenError(InjectionError):
    """A container or volume of the pod has a name that the sidecar needs; the text says which."""


@dataclass(frozen=True, slots=True)
class SidecarInjection:
    """The injection of a sidecar into one pod.

    proxy: the name in its certificate. app_probes: the rewritten probes that it serves. operations: the JSON patch of
    the pod. The bootstrap belongs in the Secret `secret` of `namespace`.
    """

    proxy: ProxyName
    pod: str
    app_probes: tuple[RewrittenProbe, ...]
    operations: tuple[Operation, ...]

    @property
    def namespace(self) -> str:
        """The pod's namespace."""
        return self.proxy.identity.namespace

    @property
    def secret(self) -> str:
        """The name of the bootstrap Secret that the pod mounts."""
        return bootstrap_secret_name(self.proxy.uuid)


def inject_sidecar(
    pod: Pod, *, uuid: str, namespace: str, metadata: NamespaceMetadata, options: InjectionOptions
) -> SidecarInjection:
    """Add a sidecar to an eligible pod. Raises BadAnnotationError, NameTakenError and RulesTooLongError."""
    _reject_taken_names(pod)
    identity = pod.identity(namespace)
    app_probes, operations = rewrite_app_probes(pod)
    envoy = envoy_container(options, identity=identity, app_probes=app_probes)
    init = init_container(options, rules=_redirect_rules(pod, app_probes))
    _reject_long_arguments(init)
    operations += [
        _append(pod.spec.volumes, "volumes", bootstrap_volume(bootstrap_secret_name(uuid))),
        *_add_containers(pod, init, envoy, options),
        *_add_metadata(pod.metadata.labels, "labels", {labels.PROXY_UUID: uuid}),
    ]
    if parse_enabled(metadata.annotations, labels.METRICS, of=f"namespace {namespace}"):
        operations += _add_metadata(pod.metadata.annotations, "annotations", _PROMETHEUS_ANNOTATIONS)
    name = pod.metadata.name or pod.metadata.generate_name or ""
    return SidecarInjection(ProxyName(uuid, SIDECAR, identity), name, app_probes, tuple(operations))


def _reject_taken_names(pod: Pod) -> None:
    containers = {container.name for container in (*pod.spec.containers, *pod.init_containers)}
    volumes = {volume.name for volume in pod.spec.volumes or ()}
    for name in sorted(containers & {SIDECAR_NAME, INIT_NAME} | volumes & {VOLUME_NAME}):
        raise NameTakenError(f"the pod has a container or volume named {name}, which its sidecar needs: rename it")


def _reject_long_arguments(init: Json) -> None:
    longest = max(len(argument.encode()) for argument in init["args"])
    if longest > _ARGUMENT_LIMIT:
        raise RulesTooLongError(
            f"the port and IP range annotations of the pod make redirect rules of {longest} bytes; "
            f"{_ARGUMENT_LIMIT} are possible: use fewer of them"
        )


def _redirect_rules(pod: Pod, app_probes: tuple[RewrittenProbe, ...]) -> RedirectRules:
    excluded = parse_ports(pod.annotations, labels.INBOUND_PORT_EXCLUSIONS)
    grpc_probe_ports = {probe.sidecar_port for probe in app_probes if probe.scheme is ProbeScheme.GRPC}
    return redirect_rules(
        excluded_inbound_ports=sorted({*excluded, *grpc_probe_ports}),
        excluded_outbound_ports=parse_ports(pod.annotations, labels.OUTBOUND_PORT_EXCLUSIONS),
        excluded_outbound_ranges=parse_ip_ranges(pod.annotations, labels.OUTBOUND_IP_RANGE_EXCLUSIONS),
        included_outbound_ranges=parse_ip_ranges(pod.annotations, labels.OUTBOUND_IP_RANGE_INCLUSIONS),
    )


def _add_containers(pod: Pod, init: Json, envoy: Json, options: InjectionOptions) -> list[Operation]:
    # A pod with native sidecars needs Envoy before them: their startup probes go through Envoy and block all later
    # containers, so Envoy would never start after them. Such a pod also proves that the cluster supports them.
    if options.native_sidecar or any(container.keeps_running for container in pod.init_containers):
        added = [init, {**envoy, "restartPolicy": "Always"}]
        if not pod.spec.init_containers:
            return [add("spec", "initContainers", value=added)]
        return [add("spec", "initContainers", index, value=container) for index, container in enumerate(added)]
    # At the end: the pod's own init containers need the network while Envoy does not run yet.
    return [
        _append(pod.spec.init_containers, "initContainers", init),
        _append(pod.spec.containers, "containers", envoy),
    ]


def _append(present: Sequence[object] | None, name: str, value: Json) -> Operation:
    return add("spec", name, "-", value=value) if present else add("spec", name, value=[value])


def _add_metadata(present: dict[str, str] | None, name: str, values: dict[str, str]) -> list[Operation]:
    if not present:
        return [add("metadata", name, value=values)]
    return [add("metadata", name, key, value=value) for key, value in values.items()]
