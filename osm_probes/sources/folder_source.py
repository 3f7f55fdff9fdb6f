"""A folder of manifests -> mesh, kept up to date. Files that did not change are not read again."""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.foundation.problem import Problem
from osm_probes.foundation.text import first_of, legible
from osm_probes.health.backlog import Backlog
from osm_probes.mesh.mesh import Mesh
from osm_probes.mesh.source import Step
from osm_probes.sources.exclusion_log import ExclusionLog
from osm_probes.sources.manifests import ManifestError, read_objects
from osm_probes.sources.objects import MeshConfig, MeshObject, ServiceObject
from osm_probes.sources.translate import mesh_from_objects

MAX_FILES: Final = 10_000
MAX_FILE_SIZE: Final = 8 * 1024 * 1024
_SUFFIXES: Final = (".yaml", ".yml", ".json")
_SETTLE_PAUSE: Final = 0.05
_SETTLE_ROUNDS: Final = 5

FileStamp = tuple[int, int, int, int]
"""Modification and change time in ns, size, inode. A file with the same stamp is taken as unchanged."""


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """The objects of a file at a stamp, or the error of an invalid file."""

    stamp: FileStamp
    objects: tuple[MeshObject, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class FolderContents:
    """All manifests of a folder. If `errors` is empty, the objects are complete and do not conflict."""

    files: Mapping[str, ParsedFile] = field(default_factory=dict)
    errors: tuple[str, ...] = ()

    @property
    def objects(self) -> list[MeshObject]:
        """The objects of all files."""
        return [found for parsed in self.files.values() for found in parsed.objects]


class FolderSource:
    """The mesh in a folder of manifests: *.yaml, *.yml and *.json, at any depth.

    `mesh` is None until the first complete read. If the folder becomes invalid, the last good mesh stays and `problem`
    says why; it is false if the folder is valid. A folder that loses all its manifests is invalid, because its mount
    may be gone. The folder is polled `every` so many seconds; a change is read when the files have stopped changing.
    """

    def __init__(self, folder: Path, *, mesh_name: str, every: float = 0.25) -> None:
        self.mesh: Latest[Mesh | None] = Latest(None)
        self.problem: Latest[Problem] = Latest(Problem())
        self.updates = Backlog()
        self._folder = folder
        self._mesh_name = mesh_name
        self._every = every
        self._stamps: dict[str, FileStamp] | None = None
        self._contents = FolderContents()
        self._errors: tuple[str, ...] = ()
        self._exclusions = ExclusionLog()

    async def run(self) -> None:
        """Read the folder after each change, until cancelled."""
        self.updates.add(Step.SEEN)
        while True:
            self.updates.move(Step.SEEN, [Step.READING])
            mesh, errors = await asyncio.to_thread(self._read)
            self._report(errors)
            if mesh is not None:
                self._exclusions.update(mesh)
                if self.mesh.set(mesh):
                    self.updates.move(Step.READING, [Step.READ])
            self.updates.remove(Step.READING)
            await self._wait_for_change()

    async def _wait_for_change(self) -> None:
        """Wait for a change, then until the files settle: the first half of a file may be a valid manifest."""
        before = self._stamps
        # Polling, because not every file system has change notifications.
        while (now := await self._look()) == before:  # noqa: ASYNC110
            await asyncio.sleep(self._every)
        self.updates.add(Step.SEEN)
        for _ in range(_SETTLE_ROUNDS):
            await asyncio.sleep(min(_SETTLE_PAUSE, self._every))
            before, now = now, await self._look()
            if before == now:
                return

    async def _look(self) -> dict[str, FileStamp] | None:
        self.updates.add(Step.LOOKING)
        stamps = await asyncio.to_thread(self._scan)
        self.updates.remove(Step.LOOKING)
        return stamps

    def _scan(self) -> dict[str, FileStamp] | None:
        try:
            return scan_folder(self._folder)
        except ManifestError:
            return None

    def _read(self) -> tuple[Mesh | None, tuple[str, ...]]:
        """The mesh, or None and the errors."""
        try:
            self._stamps = scan_folder(self._folder)
        except ManifestError as error:
            self._stamps = None
            return None, (str(error),)
        if self._contents.files and not self._stamps:
            return None, (_emptied(self._folder),)
        self._contents = read_files(self._stamps, previous=self._contents)
        if self._contents.errors:
            return None, self._contents.errors
        try:
            return _build_mesh(self._contents, mesh_name=self._mesh_name), ()
        except ManifestError as error:
            return None, (str(error),)

    def _report(self, errors: tuple[str, ...]) -> None:
        """Log each new error once, and the end of the last error."""
        log = logger("sources")
        for error in errors:
            if error not in self._errors:
                log.error("a manifest is invalid: the last good mesh stays in use", error=error)
        if self._errors and not errors:
            log.info("the manifests are valid again", folder=legible(self._folder))
        self._errors = errors
        summary = f"errors in the mesh folder: {len(errors)}" if errors else ""
        self.problem.set(Problem(summary, first_of(errors)))


def read_mesh(folder: Path, *, mesh_name: str) -> Mesh:
    """Read the mesh in a folder once. Raises ManifestError."""
    contents = read_files(scan_folder(folder), previous=FolderContents())
    if contents.errors:
        raise ManifestError(first_of(contents.errors))
    return _build_mesh(contents, mesh_name=mesh_name)


def scan_folder(folder: Path) -> dict[str, FileStamp]:
    """The manifests in a folder with their stamps, sorted, without hidden and temporary files. Raises ManifestError."""
    stamps: dict[str, FileStamp] = {}
    try:
        for entry in _manifest_entries(folder):
            status = entry.stat()
            stamps[entry.path] = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
            if len(stamps) > MAX_FILES:
                raise ManifestError(f"{legible(folder)}: more than {MAX_FILES} manifests")
    except OSError as error:
        raise ManifestError(legible(f"{error.filename or folder}: {error.strerror or error}")) from error
    return dict(sorted(stamps.items()))


def read_files(stamps: Mapping[str, FileStamp], *, previous: FolderContents) -> FolderContents:
    """Read the files that changed since `previous`."""
    files = {}
    for path, stamp in stamps.items():
        before = previous.files.get(path)
        files[path] = before if before is not None and before.stamp == stamp else _parse(path, stamp)
    errors = [parsed.error for parsed in files.values() if parsed.error]
    return FolderContents(files, tuple(map(legible, errors or _conflicts(files))))


def _manifest_entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    folders: list[str | Path] = [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                # Hidden entries are also editors' swap files, and the folders behind the links of a mounted ConfigMap.
                if entry.name.startswith((".", "#")):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.name.endswith(_SUFFIXES) and entry.is_file():
                    yield entry


def _parse(path: str, stamp: FileStamp) -> ParsedFile:
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_FILE_SIZE + 1)
        if len(content) > MAX_FILE_SIZE:
            raise ManifestError(f"larger than {MAX_FILE_SIZE // 1024**2} MiB")
        return ParsedFile(stamp, read_objects(Path(path), content))
    except OSError as error:
        return ParsedFile(stamp, error=f"{path}: {error.strerror or error}")
    except ManifestError as error:
        return ParsedFile(stamp, error=f"{path}: {error}")


def _conflicts(files: Mapping[str, ParsedFile]) -> Iterator[str]:
    """The conflicts between objects that are valid by themselves."""
    used_in: dict[tuple[str, ...], str] = {}
    for path, parsed in files.items():
        counts = Counter(key for found in parsed.objects for key in _unique_keys(found))
        for key, count in counts.items():
            if count > 1 or key in used_in:
                yield f"{' '.join(key)} is defined twice: in {used_in.get(key, path)} and in {path}"
            used_in.setdefault(key, path)


def _unique_keys(found: MeshObject) -> Iterator[tuple[str, ...]]:
    """The names and addresses of an object that no other object may have."""
    kind = type(found).__name__.removesuffix("Object")
    if isinstance(found, MeshConfig):
        yield (kind,)
        return
    yield kind, f"{found.metadata.namespace}/{found.metadata.name}"
    if isinstance(found, ServiceObject):
        for address in {found.spec.cluster_ip, *found.spec.cluster_ips} - {"", "None"}:
            yield "cluster IP", str(address)


def _build_mesh(contents: FolderContents, *, mesh_name: str) -> Mesh:
    try:
        return mesh_from_objects(contents.objects, mesh_name=mesh_name)
    except Exception as error:  # the boundary to manifests of others: an unforeseen one must not end the program
        raise ManifestError(f"the mesh cannot be built: {type(error).__name__}: {error}") from error


def _emptied(folder: Path) -> str:
    return (
        f"{legible(folder)}: all manifests are gone: is its mount gone? To empty the mesh, leave one manifest there, "
        "such as a MeshConfig"
    )
