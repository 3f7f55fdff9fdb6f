"""The webhook's configuration as it changes, and the mesh's namespaces -> the newest findings of `webhook_check`."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from osm_probes.admission.eligibility import namespaces_with_sidecars
from osm_probes.cluster.webhook_ca_bundle import CaBundleReconciler
from osm_probes.cluster.webhook_check import WebhookExpectation, WebhookFindings, check_webhooks, find_doubt
from osm_probes.cluster.webhook_doubt import UnprovenConfiguration
from osm_probes.foundation.latest import Changes, Latest
from osm_probes.foundation.problem import Problem
from osm_probes.foundation.problem_log import ProblemLog, Repeat
from osm_probes.foundation.tasks import background_tasks
from osm_probes.mesh.mesh import Mesh
from osm_probes.mesh.names import webhook_server_name

_EVERY: Final = 5.0  # time alone can change the verdict about a doubt


class WebhookMonitor:
    """Compares our webhooks with what the injector needs. problem: why pods get no sidecar. warnings: see there.

    port: returns the port that the webhook listens on. While the API server is away, what was last read is compared.
    """

    def __init__(
        self,
        reconciler: CaBundleReconciler,
        mesh: Latest[Mesh | None],
        *,
        mesh_name: str,
        osm_namespace: str,
        timeout: float,
        port: Callable[[], int],
    ) -> None:
        self.problem: Latest[Problem] = Latest(Problem(reconciler.bundle.value.missing))
        self.warnings: Latest[tuple[Problem, ...]] = Latest(())
        self._reconciler = reconciler
        self._mesh = mesh
        self._mesh_name = mesh_name
        self._osm_namespace = osm_namespace
        self._timeout = timeout
        self._own_port = port
        self._unproven = UnprovenConfiguration()
        self._changes = Changes()
        self._log = ProblemLog(
            "admission",
            began="the webhook configuration is not as osm-injector needs it",
            ended="the webhook configuration is as osm-injector needs it",
            repeat=Repeat.WHEN_CHANGED,
        )

    async def run(self) -> None:
        """Keep the findings up to date until cancelled."""
        reconciler = self._reconciler
        async with background_tasks(
            entry=self._notify(reconciler.entry),
            bundle=self._notify(reconciler.bundle),
            reading=self._notify(reconciler.read_problem),
            mesh=self._notify(self._mesh),
        ):
            while True:
                seen = self._changes.version
                self._update()
                await self._changes.changed_after(seen, within=_EVERY)

    def review_arrived(self) -> None:
        """A review came from the API server."""
        self._unproven.review_arrived()

    async def _notify(self, latest: Latest[Any]) -> None:
        async for _ in latest.values():
            self._changes.notify()

    def _update(self) -> None:
        findings = self._findings()
        problem = findings.problem or self._doubt()
        self.problem.set(problem)
        self.warnings.set((*self._reading(), *findings.warnings))
        if self._reconciler.bundle.version:  # else nothing has been read yet
            self._log.update("; ".join(str(each) for each in (problem, *findings.warnings) if each))

    def _findings(self) -> WebhookFindings:
        entry = self._reconciler.entry.value
        if entry is None or not entry.webhooks:
            return WebhookFindings(Problem(self._reconciler.bundle.value.missing))
        expectation = WebhookExpectation(
            mesh_name=self._mesh_name,
            server_name=webhook_server_name(self._osm_namespace),
            timeout=self._timeout,
            namespaces=namespaces_with_sidecars(self._mesh.value, osm_namespace=self._osm_namespace),
        )
        return check_webhooks(entry, expectation)

    def _doubt(self) -> Problem:
        entry = self._reconciler.entry.value
        self._unproven.see(find_doubt(entry, own_port=self._own_port()) if entry is not None else Problem())
        return self._unproven.problem

    def _reading(self) -> Iterator[Problem]:
        if problem := self._reconciler.read_problem.value:
            yield problem.after("what was last read of the webhook configuration is used")
