"""A folder's names and stamps -> objects by file; only what changed is read again."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from osm_probes.foundation.text import legible
from osm_probes.sources.decode import ManifestError
from osm_probes.sources.manifest import read_objects
from osm_probes.sources.objects import MeshConfig, MeshObject, ServiceObject

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
