"""Check `Running`: Kubernetes can schedule a pod of the control plane, start its containers and keep them running."""

from collections.abc import Iterator
from typing import Final

from osm_probes.cli.objects import ContainerStatus, Pod
from osm_probes.cli.verify.result import Result, failure, success, warning

_NAME: Final = "Running"
_SUGGESTIONS: Final = {
    "ImagePullBackOff": "check the image's name and the pull secret of the Deployment",
    "ErrImagePull": "check the image's name and the pull secret of the Deployment",
    "InvalidImageName": "correct the image's name in the Deployment",
    "CrashLoopBackOff": "read the log of the previous container: kubectl logs --previous",
    "Pending": "if this lasts, look at the pod's Events: a volume, a Secret or an image may be missing",
    "OOMKilled": "raise the container's memory limit",
    "CreateContainerConfigError": "create the ConfigMap or Secret that the message names",
}
"""By the reason that Kubernetes gives for a problem."""


def check_running(pod: Pod) -> Result:
    """Check that an active pod is scheduled, running and ready. Earlier restarts are a warning."""
    problems = dict(_problems_of_pod(pod))
    if not problems and pod.status.phase in {"", "Pending"}:
        problems = {"its containers have not started": "Pending"}
    if problems:
        suggestions = dict.fromkeys(_SUGGESTIONS[reason] for reason in problems.values() if reason in _SUGGESTIONS)
        return failure(_NAME, *problems, suggestions=list(suggestions))
    restarts = [text for status in pod.status.container_statuses for text in _describe_restarts(status)]
    return warning(_NAME, *restarts) if restarts else success(_NAME)


def warn_of_inactive_pod(pod: Pod) -> Result:
    """Warn about a pod that is deleted or has terminated. It does not count for its Deployment."""
    delete = f"kubectl delete pod -n {pod.metadata.namespace} {pod.metadata.name}"
    suggestions = [] if pod.metadata.deletion_timestamp else [delete]
    return warning(f"Pod {pod.metadata.name}", pod.inactive_reason, suggestions=suggestions)


def _problems_of_pod(pod: Pod) -> Iterator[tuple[str, str]]:
    """The description of each problem, and the reason that Kubernetes gives for it."""
    status = pod.status
    for condition in status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            yield f"not scheduled: {_details(condition.reason, condition.message)}", condition.reason
    if status.phase == "Unknown":
        yield f"its node does not report its status: {_details(status.reason, status.message)}", status.reason
    for container in (*status.init_container_statuses, *status.container_statuses):
        yield from _problems_of_container(container)
    ready = next((condition for condition in status.conditions if condition.type == "Ready"), None)
    if ready and ready.status != "True" and status.phase == "Running":
        yield f"not ready: {_details(ready.reason, ready.message)}", ready.reason


def _problems_of_container(status: ContainerStatus) -> Iterator[tuple[str, str]]:
    waiting, terminated = status.state.waiting, status.state.terminated or status.last_state.terminated
    if waiting and waiting.reason not in {"ContainerCreating", "PodInitializing"}:
        yield f"container {status.name} is waiting: {_details(waiting.reason, waiting.message)}", waiting.reason
    if terminated and (waiting or not status.ready) and terminated.exit_code:
        restarts = f" ({status.restart_count} restarts)" if status.restart_count else ""
        details = f"{_details(terminated.reason, terminated.message)}, exit status {terminated.exit_code}"
        yield f"container {status.name} terminated: {details}{restarts}", terminated.reason


def _describe_restarts(status: ContainerStatus) -> Iterator[str]:
    terminated = status.last_state.terminated
    if status.restart_count and terminated:
        times = "once" if status.restart_count == 1 else f"{status.restart_count} times, last"
        cause = f"{terminated.reason or 'termination'} with exit status {terminated.exit_code}"
        yield f"container {status.name} was restarted {times} after {cause}"


def _details(reason: str, message: str) -> str:
    return ": ".join(filter(None, (reason, message))) or "Kubernetes gives no reason"
