"""Bytes of a manifest file -> plain documents -> typed objects, safe with hostile YAML."""

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from osm_probes.sources.decode import ManifestError, objects_from_manifest
from osm_probes.sources.objects import MeshObject

_DEEPEST: Final = 64
_LARGEST: Final = 1_000_000
_END: Final = object()


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: a date is a text."""


_Loader.yaml_implicit_resolvers = {
    first: [each for each in known if each[0] != "tag:yaml.org,2002:timestamp"]
    for first, known in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def read_objects(path: Path, content: bytes) -> tuple[MeshObject, ...]:
    """All objects of a file. Raises ManifestError, naming document (from 1) and field; the file is the caller's."""
    found: list[MeshObject] = []
    documents = _documents(path, content)
    for number in itertools.count(1):
        try:
            document = next(documents, _END)
            if document is _END:
                break
            plain = without_nulls(document)
            if plain is not None:
                found += objects_from_manifest(plain)
        except (ManifestError, yaml.YAMLError, msgspec.DecodeError, ValueError) as error:
            raise ManifestError(f"document {number}: {' '.join(str(error).split())}") from error
        except RecursionError as error:
            raise ManifestError(f"document {number}: nested too deep") from error
    return tuple(found)


def _documents(path: Path, content: bytes) -> Iterator[object]:
    if path.suffix == ".json":
        yield msgspec.json.decode(content)
        return
    # The C loader recurses on its stack: 100,000 brackets end the process. Reading events does not.
    if _is_deep(content):
        raise RecursionError
    yield from yaml.load_all(content, Loader=_Loader)


def _is_deep(content: bytes) -> bool:
    depth = 0
    # What cannot be parsed is the loader's to say, with its document.
    with contextlib.suppress(yaml.YAMLError):
        for event in yaml.parse(content, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                return True
    return False


def without_nulls(document: object) -> object:
    """The document without nulls: unset, as Kubernetes has it. Raises ManifestError if aliases make it huge."""
    return _Plain().clean(document)


class _Plain:
    """Takes nulls out of one document, and refuses it if its aliases, written out, make it huge."""

    def __init__(self) -> None:
        self._done: dict[int, tuple[Any, int]] = {}

    def clean(self, document: object) -> object:
        """The document without nulls: unset, as Kubernetes has it. Raises ManifestError."""
        return self._clean(document)[0]

    def _clean(self, node: object) -> tuple[object, int]:
        if not isinstance(node, (dict, list)):
            return node, 1
        known = self._done.get(id(node))
        if known is not None:
            return known
        # Met again while still open, it holds itself: larger than any limit.
        self._done[id(node)] = (None, _LARGEST)
        parts = node.items() if isinstance(node, dict) else enumerate(node)
        kept = [(key, *self._clean(value)) for key, value in parts if value is not None]
        size = 1 + sum(each for _, _, each in kept)
        if size > _LARGEST:
            raise ManifestError("its aliases make it too large")
        clean = {key: value for key, value, _ in kept} if isinstance(node, dict) else [value for _, value, _ in kept]
        self._done[id(node)] = (clean, size)
        return clean, size
