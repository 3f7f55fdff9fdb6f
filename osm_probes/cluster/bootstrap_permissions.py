"""Namespaces of the mesh -> in which of them the injector may create bootstrap Secrets.

A namespace that has only the mesh's label, without the RoleBinding of `osm namespace add`, is a warning: its pods are
refused, and those of other namespaces are not affected.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

from osm_probes.admission.eligibility import namespaces_with_sidecars
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.foundation.problem_log import ProblemLog, Repeat
from osm_probes.kube.access_review import allowed
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import ForbiddenError, KubernetesError
from osm_probes.kube.kind import SECRETS
from osm_probes.mesh.mesh import Mesh

# The canary's review has three seconds in total.
_CHECK_WITHIN: Final = 1.0
_EVERY: Final = 60.0
_SHOWN: Final = 10


class BootstrapPermissions:
    """The permission to create Secrets, by namespace. denied: the mesh's namespaces in which it is missing."""

    def __init__(
        self, client: KubernetesClient, mesh: Latest[Mesh | None], *, mesh_name: str, osm_namespace: str
    ) -> None:
        self.denied: Latest[frozenset[str]] = Latest(frozenset())
        self._client = client
        self._mesh = mesh
        self._mesh_name = mesh_name
        self._osm_namespace = osm_namespace
        self._reviewed: frozenset[str] = frozenset()
        self._allowed = ""  # a namespace that had the permission when it was last asked
        self._problem = ProblemLog(
            "admission",
            began="pods are refused in namespaces where bootstraps cannot be stored",
            ended="bootstraps can be stored in all namespaces of the mesh",
            repeat=Repeat.WHEN_CHANGED,
        )

    async def run(self) -> None:
        """Keep `denied` up to date until cancelled: new namespaces at once, all of them every minute."""
        while True:
            seen = self._mesh.version
            await self._review(self._names() - self._reviewed)
            if not await self._mesh.changed_after(seen, within=_EVERY):
                self._reviewed = frozenset()

    async def check(self) -> None:
        """Raise ForbiddenError if the permission is missing in every namespace of the mesh.

        An API server that does not respond is no error: without it no pod can be created either.
        """
        names = self._names()
        try:
            async with asyncio.timeout(_CHECK_WITHIN):
                if not names or await self._is_any_allowed(names):
                    return
        except (KubernetesError, TimeoutError) as error:
            logger("admission").debug("the permission to create bootstrap Secrets is unknown", error=str(error))
            return
        raise ForbiddenError(
            'bootstraps cannot be stored: allow its user to create secrets of API group "" in the namespaces of the '
            "mesh, as osm namespace add does"
        )

    async def explain(self, error: ForbiddenError, namespace: str) -> ForbiddenError:
        """The error of a rejected Secret; if the permission is missing, with the command that gives it."""
        try:
            async with asyncio.timeout(_CHECK_WITHIN):
                if await allowed(self._client, "create", SECRETS, namespace=namespace):
                    return error  # another reason, such as a quota
        except (KubernetesError, TimeoutError):
            return error
        return ForbiddenError(f"{error}; to permit it, run: {self._command(namespace)}")

    def _command(self, namespace: str) -> str:
        return f"osm namespace add {namespace} --mesh-name {self._mesh_name}"

    def _names(self) -> frozenset[str]:
        return frozenset(namespaces_with_sidecars(self._mesh.value, osm_namespace=self._osm_namespace))

    async def _is_any_allowed(self, names: frozenset[str]) -> bool:
        # First the one that had the permission before: usually one question is enough.
        for name in sorted(names, key=lambda name: (name != self._allowed, name in self.denied.value, name)):
            if await allowed(self._client, "create", SECRETS, namespace=name):
                self._allowed = name
                return True
        return False

    async def _review(self, names: Iterable[str]) -> None:
        """Ask about these namespaces; those that cannot be asked about stay as they were."""
        denied = set(self.denied.value)
        try:
            for name in names:
                may_create = await allowed(self._client, "create", SECRETS, namespace=name)
                (denied.discard if may_create else denied.add)(name)
                self._reviewed |= {name}
        except KubernetesError as error:
            logger("admission").debug("the permission to create bootstrap Secrets is unknown", error=str(error))
        self._reviewed &= self._names()
        self.denied.set(frozenset(denied & self._names()))
        self._problem.update(self._describe(sorted(self.denied.value)))

    def _describe(self, names: list[str]) -> str:
        if not names:
            return ""
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return f"{', '.join(names[:_SHOWN])}{more}: run {self._command(names[0])}"
