"""A folder's names and stamps -> objects by file; only what changed is read again."""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.foundation.text import legible
from osm_probes.mesh.mesh import Mesh
from osm_probes.sources.manifests import ManifestError, read_objects
from osm_probes.sources.objects import MeshConfig, MeshObject, ServiceObject
from osm_probes.sources.translate import mesh_from_objects
from osm_probes.sources.warnings import MeshWarnings

_SUFFIXES: Final = (".yaml", ".yml", ".json")
MOST_FILES: Final = 10_000
LARGEST_FILE: Final = 8 * 1024 * 1024

Stamp = tuple[int, int, int, int]
"""Modification and change time in ns, size, inode: what tells that a file may have changed."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A file as it was at a stamp: its objects, or why there are none."""

    stamp: Stamp
    objects: tuple[MeshObject, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Contents:
    """All manifests of a folder; `errors` empty = the objects are whole and consistent."""

    files: Mapping[str, Parsed] = field(default_factory=dict)
    errors: tuple[str, ...] = ()

    @property
    def objects(self) -> list[MeshObject]:
        """The objects of all files."""
        return [each for parsed in self.files.values() for each in parsed.objects]


def scan(folder: Path) -> dict[str, Stamp]:
    """The manifests under `folder`, hidden and temporary files left out, sorted. Raises ManifestError."""
    found: dict[str, Stamp] = {}
    try:
        for entry in _entries(folder):
            status = entry.stat()
            found[entry.path] = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
            if len(found) > MOST_FILES:
                raise ManifestError(f"{legible(folder)}: more than {MOST_FILES} manifests")
    except OSError as error:
        raise ManifestError(legible(f"{error.filename or folder}: {error.strerror or error}")) from error
    return dict(sorted(found.items()))


def _entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    waiting: list[str | Path] = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                # Hidden are also editors' swap files and the folders behind a mounted ConfigMap's links.
                if entry.name.startswith((".", "#")):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.name.endswith(_SUFFIXES) and entry.is_file():
                    yield entry


def read(stamps: Mapping[str, Stamp], *, known: Contents) -> Contents:
    """The contents of these files; those whose stamp is known are not read again."""
    files = {}
    for path, stamp in stamps.items():
        before = known.files.get(path)
        files[path] = before if before is not None and before.stamp == stamp else _parse(path, stamp)
    errors = [parsed.error for parsed in files.values() if parsed.error]
    return Contents(files, tuple(map(legible, errors or _conflicts(files))))


def _parse(path: str, stamp: Stamp) -> Parsed:
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise ManifestError(f"larger than {LARGEST_FILE // 1024**2} MiB")
        return Parsed(stamp, read_objects(Path(path), content))
    except OSError as error:
        return Parsed(stamp, error=f"{path}: {error.strerror or error}")
    except ManifestError as error:
        return Parsed(stamp, error=f"{path}: {error}")


def _conflicts(files: Mapping[str, Parsed]) -> Iterator[str]:
    """What no file says wrongly but several together do."""
    claimed: dict[tuple[str, ...], str] = {}
    for path, parsed in files.items():
        for claim, count in Counter(claim for each in parsed.objects for claim in _claims(each)).items():
            if count > 1 or claim in claimed:
                yield f"{' '.join(claim)} is there twice: in {claimed.get(claim, path)} and in {path}"
            claimed.setdefault(claim, path)


def _claims(each: MeshObject) -> Iterator[tuple[str, ...]]:
    """What this object has for itself alone."""
    kind = type(each).__name__.removesuffix("Object")
    if isinstance(each, MeshConfig):
        yield (kind,)
        return
    yield kind, f"{each.metadata.namespace}/{each.metadata.name}"
    if isinstance(each, ServiceObject):
        for address in {each.spec.cluster_ip, *each.spec.cluster_ips} - {"", "None"}:
            yield "cluster IP", str(address)


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
        self._news = MeshWarnings()

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
