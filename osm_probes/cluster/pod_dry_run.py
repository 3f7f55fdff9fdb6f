"""A pod that is created in a dry run, in a namespace made for this -> whether it gets its sidecar from the webhook.

Only this shows what the fields of the webhook's configuration cannot: conditions in CEL, an address behind which nobody
listens, or an API server that calls no webhooks. The chart permits it only in the namespace `webhook.dryRunNamespace`.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from osm_probes.admission.pod import InjectionError, decode_pod
from osm_probes.cluster.webhook_configuration import Webhook, WebhookEntry
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.problem import Problem
from osm_probes.foundation.problem_log import ProblemLog, Repeat
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.dry_run import DryRun, Outcome, create_in_dry_run
from osm_probes.kube.errors import KubernetesError
from osm_probes.kube.kind import NAMESPACES, PODS
from osm_probes.mesh.labels import INJECTION
from osm_probes.mesh.mesh import Mesh

FIRST_AFTER: Final = 30.0
"""Until then the kubelet has found the first injector of a new installation ready, so that it can be called."""
EVERY: Final = 60.0
_MARGIN: Final = 5.0
_TRIAL: Final = 5
_INVALID: Final = 422


class PodDryRun:
    """Creates a pod in a dry run once a minute. within: the webhook's time limit, in seconds.

    problem: why pods get no sidecar; false if they do or if that is unknown. warning: why a dry run says nothing.
    is_ready: whether all else is well. A Service sends no reviews to injectors that are not ready. So a call that
    failed says nothing then; and after four runs with failed calls, the problem is suspended for a minute, in which the
    Service can send reviews again.
    """

    def __init__(
        self,
        client: KubernetesClient,
        mesh: Latest[Mesh | None],
        *,
        namespace: str,
        entry: Latest[WebhookEntry | None],
        within: float,
        is_ready: Callable[[], bool],
    ) -> None:
        self.problem: Latest[Problem] = Latest(Problem())
        self.warning: Latest[Problem] = Latest(Problem())
        self._client = client.with_timeout(within + _MARGIN)
        self._mesh = mesh
        self._namespace = namespace
        self._entry = entry
        self._is_ready = is_ready
        self._failed_calls = 0
        self._log = ProblemLog(
            "admission",
            began="a dry run of a pod says nothing",
            ended="dry runs of pods work again",
            repeat=Repeat.WHEN_CHANGED,
        )

    async def run(self) -> None:
        """Create pods in dry runs until cancelled."""
        await asyncio.sleep(FIRST_AFTER)
        while True:
            await self.try_once()
            await asyncio.sleep(EVERY)

    async def try_once(self) -> None:
        """Create one pod in a dry run, and set `problem` and `warning`."""
        try:
            run = await create_in_dry_run(self._client, PODS, _POD, namespace=self._namespace)
            answers = run.outcome is not Outcome.NO_ANSWER or await self._answers()
        except KubernetesError as error:
            self._inconclusive(str(error))
            return
        if run.outcome is Outcome.UNKNOWN:
            self._inconclusive(run.text)
        elif answers:
            self._judge(run)

    async def _answers(self) -> bool:
        try:
            await self._client.read(NAMESPACES, self._namespace)
        except KubernetesError:
            return False
        return True

    def _judge(self, run: DryRun) -> None:
        webhooks = self._webhooks()
        ours = [webhook for webhook in webhooks if run.by_webhook(webhook.name)]
        conditions = [condition.expression for webhook in webhooks for condition in webhook.match_conditions]
        if run.outcome is Outcome.CREATED:
            ignores_failures = any(webhook.failure_policy == "Ignore" for webhook in webhooks)
            self._judge_created(run, ignores_failures=ignores_failures)
        elif any(f"expression '{expression}'" in run.text for expression in conditions):
            self._set("the webhook's matchConditions fail", run.text)
        elif ours and run.failed_call:
            self._call_failed("the API server cannot call the webhook", run.text)
        elif ours:
            self._set("the webhook refuses the pod of a dry run", run.text)
        elif run.status == _INVALID:
            self._set("the API server finds the patched pod of a dry run invalid", run.text)
        elif run.outcome is Outcome.REFUSED:
            self._inconclusive(run.text)
        elif run.outcome is Outcome.BROKEN:
            self._set(f"the API server answers {run.status} when a pod is created in a dry run", run.text)
        else:
            self._set("the API server does not answer when a pod is created in a dry run", run.text)

    def _judge_created(self, run: DryRun, *, ignores_failures: bool) -> None:
        try:
            has_sidecar = decode_pod(run.content).has_sidecar
        except InjectionError as error:
            self._inconclusive(str(error))
            return
        mesh = self._mesh.value
        reason = "a pod that is created in a dry run gets no sidecar"
        if has_sidecar:
            self._failed_calls = 0
            self._set("")
        elif mesh is None or self._namespace not in mesh.namespaces:
            self._inconclusive(f"namespace {self._namespace} does not belong to the mesh: run osm namespace add")
        elif ignores_failures:
            self._call_failed(reason)
        else:
            self._set(reason)

    def _webhooks(self) -> list[Webhook]:
        entry = self._entry.value
        return [webhook for _, webhook in entry.webhooks] if entry is not None else []

    def _call_failed(self, reason: str, text: str = "") -> None:
        if not self._is_ready():
            self._inconclusive(text or reason)
            return
        self._failed_calls += 1
        self._set(reason if self._failed_calls % _TRIAL else "", text)

    def _set(self, reason: str, text: str = "") -> None:
        self.warning.set(Problem())
        self._log.update("")
        self.problem.set(Problem(reason, f"{reason}: {text}" if reason and text else ""))

    def _inconclusive(self, text: str) -> None:
        """The problem of an earlier run is over: nothing proves it any more."""
        self.problem.set(Problem())
        reason = "the dry run of a pod says nothing"
        self.warning.set(Problem(f"{reason}: the log has the reason", f"{reason}: {text}"))
        self._log.update(f"{self._namespace}: {text}")


_CONTAINER: Final = {
    "name": "app",
    "image": "osm-dry-run",
    "livenessProbe": {"httpGet": {"path": "/", "port": 80}},
    # What quotas may demand and Pod Security may require, so that as little as possible refuses the pod.
    "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "1m", "memory": "1Mi"}},
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}
_POD: Final = {
    "metadata": {"generateName": "osm-dry-run-", "annotations": {INJECTION: "enabled"}},
    "spec": {"containers": [_CONTAINER], "automountServiceAccountToken": False},
}
