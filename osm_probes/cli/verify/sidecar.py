"""Checks `No sidecar` and `Own namespace is not injected`: no mesh injects sidecars into the control plane's pods.

A control plane with a sidecar does not start: its proxy waits for a configuration from that control plane.
"""

from collections.abc import Mapping
from typing import Final

from osm_probes.admission.sidecar import INIT_NAME
from osm_probes.cli.control_planes import ControlPlane
from osm_probes.cli.objects import Container, Pod
from osm_probes.cli.verify.result import Result, failure, success, unknown
from osm_probes.kube.errors import KubernetesError

_PIPY_IMAGES: Final = ("flomesh/pipy", "flomesh/mesh")


def check_sidecar(pod: Pod, *, injecting_meshes: Mapping[str, str] | KubernetesError) -> Result:
    """Check that a pod has no sidecar. `injecting_meshes`: by namespace, the mesh that injects sidecars into it."""
    name, namespace = "No sidecar", pod.metadata.namespace
    containers = [*pod.spec.init_containers, *pod.spec.containers]
    sidecars = [
        f"container {container.name} has the image {container.image}"
        for container in containers
        if is_sidecar(container)
    ]
    if not sidecars:
        return success(name)
    suggestions = [f"kubectl delete pod -n {namespace} {pod.metadata.name}"]
    if isinstance(injecting_meshes, KubernetesError):
        error = injecting_meshes.explain("list namespaces")
        reason = f"cannot find out which mesh injects sidecars into namespace {namespace}: {error}"
    elif mesh := injecting_meshes.get(namespace):
        reason = f"namespace {namespace} is enrolled in mesh {mesh}"
        suggestions = [removal_command(namespace, mesh), *suggestions]
    else:
        reason = f"namespace {namespace} is not enrolled in a mesh now, but was when the pod was created"
    return failure(name, *sidecars, reason, suggestions=suggestions)


def check_namespace(control_plane: ControlPlane, *, injecting_meshes: Mapping[str, str] | KubernetesError) -> Result:
    """Check that no mesh injects sidecars into the control plane's namespace."""
    name, namespace = "Own namespace is not injected", control_plane.namespace
    if isinstance(injecting_meshes, KubernetesError):
        return unknown(name, injecting_meshes.explain("list namespaces"))
    mesh = injecting_meshes.get(namespace)
    if mesh is None:
        return success(name)
    reason = f"namespace {namespace} is enrolled in mesh {mesh} with sidecar injection: its new pods get sidecars"
    return failure(name, reason, suggestions=[removal_command(namespace, mesh)])


def is_sidecar(container: Container) -> bool:
    """Whether the container is a proxy, or the init container that redirects traffic to a proxy."""
    repository = container.image.partition("@")[0]
    image_name = repository.rpartition("/")[2].partition(":")[0]
    return (
        container.name == INIT_NAME
        or image_name.startswith("envoy")
        or any(name in repository for name in _PIPY_IMAGES)
    )


def removal_command(namespace: str, mesh: str) -> str:
    """The command that removes a namespace from a mesh."""
    return f"osm namespace remove {namespace} --mesh-name {mesh}"
