"""A pod's images and its kubelet's words -> a sidecar where none may be; why a container does not run."""

from collections.abc import Iterator, Mapping
from typing import Final

from osm_probes.admission.sidecar import INIT_NAME
from osm_probes.cli.objects import Container, ContainerStatus, Pod
from osm_probes.cli.verify.result import Result, failure, warning
from osm_probes.kube.errors import KubernetesError

_PIPY: Final = ("flomesh/pipy", "flomesh/mesh")
_CURES: Final = {
    "ImagePullBackOff": "check the image's name and the pull secret of the Deployment",
    "ErrImagePull": "check the image's name and the pull secret of the Deployment",
    "InvalidImageName": "correct the image's name in the Deployment",
    "CrashLoopBackOff": "read the log of the previous container: kubectl logs --previous",
    "Pending": "see its Events, if this lasts: a volume, a Secret or an image may be missing",
    "OOMKilled": "raise the container's memory limit",
    "CreateContainerConfigError": "create the ConfigMap or Secret that the message names",
}


def is_sidecar(container: Container) -> bool:
    """Whether it is a proxy, or what redirects a pod's traffic to one."""
    repository = container.image.partition("@")[0]
    last = repository.rpartition("/")[2].partition(":")[0]
    return container.name == INIT_NAME or last.startswith("envoy") or any(name in repository for name in _PIPY)


def judge_sidecar(pod: Pod, *, owners: Mapping[str, str] | KubernetesError) -> Result:
    """A control plane must not wait for a proxy that waits for it. `owners`: mesh by enrolled namespace."""
    home = pod.metadata.namespace
    containers = [*pod.spec.init_containers, *pod.spec.containers]
    found = [f"container {each.name} has the image {each.image}" for each in containers if is_sidecar(each)]
    if not found:
        return Result(name="No sidecar")
    first: list[str] = []
    if isinstance(owners, KubernetesError):
        reason = f"which mesh injects namespace {home} cannot be told: {owners.needing('list namespaces')}"
    elif owner := owners.get(home):
        reason, first = f"namespace {home} is enrolled in mesh {owner}", [removal(home, owner)]
    else:
        reason = f"namespace {home} is enrolled in no mesh now: it was when the pod was made"
    again = f"kubectl delete pod -n {home} {pod.metadata.name}"
    return failure("No sidecar", *found, reason, do=[*first, again])


def removal(namespace: str, mesh: str) -> str:
    """The command that ends an enrolment."""
    return f"osm namespace remove {namespace} --mesh-name {mesh}"


def judge_leaving(pod: Pod) -> Result:
    """One that is leaving; whether others are enough, the check of its Deployment says."""
    ended = f"kubectl delete pod -n {pod.metadata.namespace} {pod.metadata.name}"
    return warning(f"Pod {pod.metadata.name}", pod.leaving, do=[] if pod.metadata.deletion_timestamp else [ended])


def judge_state(pod: Pod) -> Result:
    """Whether Kubernetes could schedule it, start it, and keep it running."""
    problems = dict(_problems(pod))
    if not problems and pod.status.phase in {"", "Pending"}:
        problems = {"its containers do not run yet": "Pending"}
    if problems:
        cures = dict.fromkeys(_CURES[word] for word in problems.values() if word in _CURES)
        return failure("Running", *problems, do=list(cures))
    restarts = [text for status in pod.status.container_statuses for text in _restarts(status)]
    return warning("Running", *restarts) if restarts else Result(name="Running")


def _problems(pod: Pod) -> Iterator[tuple[str, str]]:
    """Each reason, and Kubernetes' word for it."""
    status = pod.status
    for condition in status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            yield f"not scheduled: {_words(condition.reason, condition.message)}", condition.reason
    if status.phase == "Unknown":
        yield f"its node does not tell: {_words(status.reason, status.message)}", status.reason
    for each in (*status.init_container_statuses, *status.container_statuses):
        yield from _problems_of(each)
    ready = next((each for each in status.conditions if each.type == "Ready"), None)
    if ready and ready.status != "True" and status.phase == "Running":
        yield f"not ready: {_words(ready.reason, ready.message)}", ready.reason


def _problems_of(status: ContainerStatus) -> Iterator[tuple[str, str]]:
    waiting, ended = status.state.waiting, status.state.terminated or status.last_state.terminated
    if waiting and waiting.reason not in {"ContainerCreating", "PodInitializing"}:
        yield f"container {status.name} waits: {_words(waiting.reason, waiting.message)}", waiting.reason
    if ended and (waiting or not status.ready) and ended.exit_code:
        often = f" ({status.restart_count} restarts)" if status.restart_count else ""
        text = f"container {status.name} ended: {_words(ended.reason, ended.message)}, exit status {ended.exit_code}"
        yield text + often, ended.reason


def _restarts(status: ContainerStatus) -> Iterator[str]:
    ended = status.last_state.terminated
    if status.restart_count and ended:
        often = "once" if status.restart_count == 1 else f"{status.restart_count} times, last"
        end = f"{ended.reason or 'an end'} with exit status {ended.exit_code}"
        yield f"container {status.name} was restarted {often} after {end}"


def _words(reason: str, message: str) -> str:
    return ": ".join(filter(None, (reason, message))) or "Kubernetes does not say why"
