"""Pod -> JSON patch: the pod with a sidecar. Pure: the same pod and uuid have the same patch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from osm_probes.admission import annotations as annotation
from osm_probes.admission.app_probes import rewrite_probes
from osm_probes.admission.json_patch import Operation, add
from osm_probes.admission.namespaces import NamespaceFacts
from osm_probes.admission.options import InjectionOptions
from osm_probes.admission.pod import SIDECAR_NAME, Pod, UnfitPodError, secret_name
from osm_probes.admission.redirect import redirect_rules
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
from osm_probes.mesh.labels import PROXY_UUID
from osm_probes.mesh.ports import PROXY_METRICS_PORT
from osm_probes.xds.app_probes import ProbeScheme, RewrittenProbe

_PROMETHEUS: Final = {
    "prometheus.io/scrape": "true",
    "prometheus.io/port": str(PROXY_METRICS_PORT),
    "prometheus.io/path": "/stats/prometheus",
}


class NameTakenError(UnfitPodError):
    """A container or volume of the pod has a name that the sidecar needs; the text says which."""


@dataclass(frozen=True, slots=True)
class Injection:
    """A sidecar for a pod: whose it is, what the kubelet will ask of it, and the patch that adds it.

    `proxy` is what its certificate must say; the bootstrap belongs in the Secret `secret` of `namespace`.
    """

    proxy: ProxyName
    pod: str
    probes: tuple[RewrittenProbe, ...]
    operations: tuple[Operation, ...]

    @property
    def namespace(self) -> str:
        """The pod's namespace."""
        return self.proxy.identity.namespace

    @property
    def secret(self) -> str:
        """The name of the Secret that the pod mounts."""
        return secret_name(self.proxy.uuid)


def inject(pod: Pod, *, uuid: str, namespace: str, facts: NamespaceFacts, options: InjectionOptions) -> Injection:
    """Give an eligible pod its sidecar. Raises BadAnnotationError and NameTakenError."""
    _refuse_taken_names(pod)
    identity = pod.identity(namespace)
    probes, operations = rewrite_probes(pod)
    envoy = envoy_container(options, identity=identity, probes=probes)
    init = init_container(options, rules=_rules(pod, probes))
    operations += [
        _append(pod.spec.volumes, "volumes", bootstrap_volume(secret_name(uuid))),
        *_containers(pod, init, envoy, options),
        *_members(pod.metadata.labels, "labels", {PROXY_UUID: uuid}),
    ]
    if annotation.switch(facts.annotations, labels.METRICS, of=f"namespace {namespace}"):
        operations += _members(pod.metadata.annotations, "annotations", _PROMETHEUS)
    name = pod.metadata.name or pod.metadata.generate_name or ""
    return Injection(ProxyName(uuid, SIDECAR, identity), name, probes, tuple(operations))


def _refuse_taken_names(pod: Pod) -> None:
    containers = {each.name for each in (*pod.spec.containers, *pod.init_containers)}
    volumes = {each.name for each in pod.spec.volumes or ()}
    for name in sorted(containers & {SIDECAR_NAME, INIT_NAME} | volumes & {VOLUME_NAME}):
        raise NameTakenError(f"the pod has a container or volume named {name}, which its sidecar needs: rename it")


def _rules(pod: Pod, probes: tuple[RewrittenProbe, ...]) -> str:
    inbound = annotation.ports(pod.annotations, labels.INBOUND_PORTS)
    grpc = {probe.listening_port for probe in probes if probe.scheme is ProbeScheme.GRPC}
    return redirect_rules(
        excluded_inbound_ports=sorted({*inbound, *grpc}),
        excluded_outbound_ports=annotation.ports(pod.annotations, labels.OUTBOUND_PORTS),
        excluded_outbound_ranges=annotation.ranges(pod.annotations, labels.EXCLUDED_RANGES),
        included_outbound_ranges=annotation.ranges(pod.annotations, labels.INCLUDED_RANGES),
    )


def _containers(pod: Pod, init: Json, envoy: Json, options: InjectionOptions) -> list[Operation]:
    # A pod with native sidecars proves that the cluster knows them, and needs Envoy before them: their rewritten
    # startup probes hold up all that starts later, so an Envoy that started last would never start.
    if options.native_sidecar or any(each.keeps_running for each in pod.init_containers):
        first = [init, {**envoy, "restartPolicy": "Always"}]
        if not pod.spec.init_containers:
            return [add("spec", "initContainers", value=first)]
        return [add("spec", "initContainers", index, value=each) for index, each in enumerate(first)]
    # Last: the pod's own init containers need a network before Envoy runs.
    return [
        _append(pod.spec.init_containers, "initContainers", init),
        _append(pod.spec.containers, "containers", envoy),
    ]


def _append(present: Sequence[object] | None, name: str, value: Json) -> Operation:
    return add("spec", name, "-", value=value) if present else add("spec", name, value=[value])


def _members(present: dict[str, str] | None, name: str, values: dict[str, str]) -> list[Operation]:
    if not present:
        return [add("metadata", name, value=values)]
    return [add("metadata", name, key, value=value) for key, value in values.items()]
