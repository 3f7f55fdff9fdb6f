"""Namespaces of the mesh -> whether a pod's bootstrap could be stored there now, which a dry run tries again and again.

A namespace that refuses Secrets, such as by a quota, is a warning: its pods are refused, and those of other namespaces
are not affected. An API server that fails or hangs when Secrets are created is a problem.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from osm_probes.admission.eligibility import namespaces_with_sidecars
from osm_probes.admission.pod import bootstrap_secret_name
from osm_probes.admission.sidecar import BOOTSTRAP_FILE
from osm_probes.foundation.latest import Changes, Latest
from osm_probes.foundation.problem import Problem
from osm_probes.foundation.problem_log import ProblemLog, Repeat
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.dry_run import DryRun, Outcome, create_in_dry_run
from osm_probes.kube.errors import KubernetesError
from osm_probes.kube.kind import NAMESPACES, SECRETS
from osm_probes.kube.wire import encode_secret_data
from osm_probes.mesh.identity import Identity
from osm_probes.mesh.labels import MANAGED_BY, PROXY_UUID
from osm_probes.mesh.mesh import Mesh
from osm_probes.mesh.names import INJECTOR
from osm_probes.mesh.proxy_uuid import random_uuid

_EVERY: Final = 15.0
_AFTER_FAILURE: Final = 5.0
_SHORTEST_PAUSE: Final = 1.0
_READ_WITHIN: Final = 4.0
_EACH_TIME: Final = 5
"""Namespaces of one rehearsal. They take turns, so that each is tried."""
_UNTIL_CREATED: Final = 50
"""Further namespaces that are tried if all of these refuse."""
_SHOWN: Final = 10
_FORBIDDEN: Final = 'cannot create resource "secrets"'
"""In the text of an API server that knows no permission for this user; a quota's text does not have it."""


class BootstrapRehearsal:
    """Creates bootstrap Secrets in dry runs: every 15 s, every 5 s after a failure, and soon after a real one failed.

    problem: why bootstraps can be stored nowhere; false if they can. An API server that cannot be reached changes
    nothing. refused: the namespaces that refuse them, with the reasons. denied: namespaces that are not tried, because
    the permission is missing there. within: how long a review waits for a bootstrap, in seconds; a slower API server
    hangs.
    """

    def __init__(
        self,
        client: KubernetesClient,
        mesh: Latest[Mesh | None],
        *,
        osm_namespace: str,
        denied: Latest[frozenset[str]],
        within: float,
    ) -> None:
        self.problem: Latest[Problem] = Latest(Problem("the storing of bootstraps has not been tried yet"))
        self.refused: Latest[Mapping[str, str]] = Latest({})
        self._client = client.with_timeout(within)
        self._within = within
        self._mesh = mesh
        self._osm_namespace = osm_namespace
        self._denied = denied
        self._hints = Changes()
        self._hinted: list[str] = []
        self._last_tried = ""
        self._last_created = ""
        self._log = ProblemLog(
            "admission",
            began="pods are refused in namespaces that do not accept bootstraps",
            ended="all namespaces of the mesh accept bootstraps",
            repeat=Repeat.WHEN_CHANGED,
        )

    @property
    def warning(self) -> Problem:
        """The namespaces that refuse bootstraps; false if there are none."""
        if not (refused := self.refused.value):
            return Problem()
        reason = f"pods are refused in {len(refused)} of the mesh's namespaces, which do not accept bootstraps"
        return Problem(f"{reason}: the log names them", f"{reason}: {_list(refused)}")

    def store_failed(self, namespace: str) -> None:
        """A real bootstrap could not be stored there: try it soon."""
        if namespace not in self._hinted:
            self._hinted = [*self._hinted[-_EACH_TIME:], namespace]
        self._hints.notify()

    def store_succeeded(self) -> None:
        """A real bootstrap was stored: if that was a problem, try again soon."""
        if self.problem.value:
            self._hints.notify()

    async def run(self) -> None:
        """Rehearse until cancelled."""
        while True:
            seen = self._hints.version
            await self.rehearse()
            await asyncio.sleep(_SHORTEST_PAUSE)
            pause = _AFTER_FAILURE if self.problem.value else _EVERY
            await self._hints.changed_after(seen, within=pause - _SHORTEST_PAUSE)

    async def rehearse(self) -> None:
        """Try some namespaces; all others as well until one of them accepts."""
        names = set(namespaces_with_sidecars(self._mesh.value, osm_namespace=self._osm_namespace)) - self._denied.value
        self.refused.set({name: text for name, text in self.refused.value.items() if name in names})
        if names:
            problem = await self._try(self._take_turns(names), names)
        else:
            problem = await self._try_own_namespace()
        if problem is not None:
            self.problem.set(problem)
        elif self.problem.version == 0:
            self.problem.set(Problem())  # tried, with an unknown result
        self._log.update(_list(self.refused.value))

    def _take_turns(self, names: set[str]) -> list[str]:
        """First those in which a real bootstrap failed, then those whose turn it is."""
        hinted, self._hinted = self._hinted, []
        ordered = sorted(names, key=lambda name: (name <= self._last_tried, name))[:_EACH_TIME]
        self._last_tried = ordered[-1]
        return [*(name for name in hinted if name in names), *(name for name in ordered if name not in hinted)]

    async def _try(self, first: list[str], names: set[str]) -> Problem | None:
        """The problem; a false one if there is none, None if it is unknown."""
        others = sorted(names - set(first), key=lambda name: (name != self._last_created, name))
        tried: dict[str, DryRun] = {}
        for name in [*first, *islice(others, _UNTIL_CREATED)]:
            if name not in first and any(run.outcome is Outcome.CREATED for run in tried.values()):
                break
            tried[name] = run = await self._dry_run(name)
            if run.outcome in {Outcome.BROKEN, Outcome.NO_ANSWER}:
                return await self._failure(run, namespace=name)
            self._remember(name, run)
        return self._verdict(tried)

    async def _try_own_namespace(self) -> Problem | None:
        """Without a namespace in the mesh: whether the API server stores Secrets at all."""
        run = await self._dry_run(self._osm_namespace)
        if run.outcome in {Outcome.BROKEN, Outcome.NO_ANSWER}:
            return await self._failure(run, namespace=self._osm_namespace)
        return Problem()

    async def _dry_run(self, namespace: str) -> DryRun:
        try:
            run = await create_in_dry_run(self._client, SECRETS, _secret(namespace), namespace=namespace)
        except KubernetesError as error:
            return DryRun(Outcome.UNKNOWN, str(error))
        # bootstrap_permissions.py decides about permissions. For a moment after its start, an API server knows none.
        return replace(run, outcome=Outcome.UNKNOWN) if _FORBIDDEN in run.text else run

    async def _failure(self, run: DryRun, *, namespace: str) -> Problem | None:
        if run.outcome is Outcome.BROKEN:
            reason = f"the API server answers {run.status} when a bootstrap is stored, so pods are refused"
            return Problem(reason, f"{reason}: {namespace}: {run.text}")
        try:
            await self._client.with_timeout(_READ_WITHIN).read(NAMESPACES, self._osm_namespace)
        except KubernetesError:
            return None  # it answers nothing at all: api_server_contact.py decides
        if run.took < self._within / 2 and (await self._dry_run(namespace)).outcome is not Outcome.NO_ANSWER:
            return None  # a connection broke; the next rehearsal decides
        reason = (
            f"the API server does not answer within {self._within:g} s when a bootstrap is stored, so pods are refused"
        )
        return Problem(reason, f"{reason}: {namespace}: {run.text}")

    def _remember(self, name: str, run: DryRun) -> None:
        others = {other: text for other, text in self.refused.value.items() if other != name}
        if run.outcome is Outcome.CREATED:
            self._last_created = name
        if run.outcome is Outcome.REFUSED:
            others[name] = run.text
        self.refused.set(others)

    def _verdict(self, tried: Mapping[str, DryRun]) -> Problem | None:
        outcomes = {run.outcome for run in tried.values()}
        if Outcome.CREATED in outcomes:
            return Problem()
        if Outcome.REFUSED not in outcomes:
            return None
        refused = {name: run.text for name, run in tried.items() if run.outcome is Outcome.REFUSED}
        reason = f"each of the {len(refused)} namespaces that were tried refuses bootstraps, so pods are refused"
        return Problem(f"{reason}: the log names them", f"{reason}: {_list(refused)}")


def _list(refused: Mapping[str, str]) -> str:
    more = f"; and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
    return "; ".join(f"{name}: {refused[name]}" for name in sorted(refused)[:_SHOWN]) + more


def _secret(namespace: str) -> dict[str, Any]:
    """A Secret as pods get it, without credentials."""
    uuid = random_uuid(Identity(namespace, "default"))
    labels = {PROXY_UUID: uuid, MANAGED_BY: INJECTOR}
    metadata = {"name": bootstrap_secret_name(uuid), "labels": labels}
    return {"metadata": metadata, "data": encode_secret_data({BOOTSTRAP_FILE: b"{}"})}
