"""A folder of Kubernetes manifests -> Mesh, watched: the outside world of a control plane without Kubernetes."""

import asyncio
from pathlib import Path
from typing import Final

from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.foundation.text import legible
from osm_probes.mesh.mesh import Mesh
from osm_probes.sources.decode import ManifestError
from osm_probes.sources.folder import Contents, Stamp, read, scan
from osm_probes.sources.news import MeshNews
from osm_probes.sources.translate import mesh_from_objects

_SETTLE: Final = 0.05
_SETTLE_ROUNDS: Final = 5


class FolderSource:
    """The mesh that a folder of manifests says: *.yaml, *.yml and *.json, at any depth.

    `mesh` is None until the first complete read. A folder that cannot be used leaves the last good mesh whole;
    `problem` says why, "" if all is well. Changes are seen within `every` seconds and the time that writing takes.
    """

    def __init__(self, folder: Path, *, mesh_name: str, every: float = 0.25) -> None:
        self.mesh: Latest[Mesh | None] = Latest(None)
        self.problem: Latest[str] = Latest("")
        self._folder = folder
        self._mesh_name = mesh_name
        self._every = every
        self._stamps: dict[str, Stamp] | None = None
        self._contents = Contents()
        self._errors: tuple[str, ...] = ()
        self._news = MeshNews()

    async def read_once(self) -> None:
        """Read the folder now. Raises ManifestError if that gives no mesh; nothing is logged then."""
        mesh, errors = await asyncio.to_thread(self._read)
        if errors:
            raise ManifestError(_said(errors))
        self.mesh.set(mesh or self.mesh.value)

    async def run(self) -> None:
        """Watch the folder without an end."""
        while True:
            mesh, errors = await asyncio.to_thread(self._read)
            self._tell(errors)
            if mesh is not None:
                self._news.tell(mesh)
                self.mesh.set(mesh)
            await self._settled()

    async def _settled(self) -> None:
        """Wait for a change, then until the files stay as they are: half of a file may be valid by itself."""
        before = self._stamps
        # Nothing tells of a change in a folder of any file system: it is asked.
        while (now := await asyncio.to_thread(self._scan)) == before:  # noqa: ASYNC110
            await asyncio.sleep(self._every)
        for _ in range(_SETTLE_ROUNDS):
            await asyncio.sleep(min(_SETTLE, self._every))
            before, now = now, await asyncio.to_thread(self._scan)
            if before == now:
                return

    def _scan(self) -> dict[str, Stamp] | None:
        try:
            return scan(self._folder)
        except ManifestError:
            return None

    def _read(self) -> tuple[Mesh | None, tuple[str, ...]]:
        """The mesh, or the errors that make it unknown."""
        try:
            self._stamps = scan(self._folder)
        except ManifestError as error:
            self._stamps = None
            return None, (str(error),)
        self._contents = read(self._stamps, known=self._contents)
        if self._contents.errors:
            return None, self._contents.errors
        try:
            return _mesh(self._contents, mesh_name=self._mesh_name), ()
        except ManifestError as error:
            return None, (str(error),)

    def _tell(self, errors: tuple[str, ...]) -> None:
        """Log what became wrong, once each, and that all is well again."""
        log = logger("sources")
        for error in errors:
            if error not in self._errors:
                log.error("a manifest cannot be used: the last good mesh stays", error=error)
        if self._errors and not errors:
            log.info("the manifests are good again", folder=legible(self._folder))
        self._errors = errors
        self.problem.set(_said(errors))


def read_mesh(folder: Path, *, mesh_name: str) -> Mesh:
    """The mesh that the folder says now. Raises ManifestError."""
    contents = read(scan(folder), known=Contents())
    if contents.errors:
        raise ManifestError(_said(contents.errors))
    return _mesh(contents, mesh_name=mesh_name)


def _mesh(contents: Contents, *, mesh_name: str) -> Mesh:
    try:
        return mesh_from_objects(contents.objects, mesh_name=mesh_name)
    except Exception as error:  # the boundary of what others wrote: it must not end the program
        raise ManifestError(f"the manifests make no mesh: {type(error).__name__}: {error}") from error


def _said(errors: tuple[str, ...]) -> str:
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{errors[0]}{more}" if errors else ""
