"""Bytes of a manifest file -> plain documents -> typed objects, safe with hostile YAML."""

import contextlib
import ipaddress
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import yaml

from osm_probes.foundation.durations import seconds_of
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.logs import logger
from osm_probes.sources.objects import (
    Endpoints,
    EndpointSlice,
    MeshConfig,
    MeshObject,
    Namespace,
    Pod,
    ServiceAccount,
    ServiceObject,
)
from osm_probes.sources.regex import checked
from osm_probes.sources.schema import ClusterAddress, Pattern, Validity
from osm_probes.sources.smi import HTTPRouteGroup, TCPRoute, TrafficSplit, TrafficTarget

T = TypeVar("T", bound=MeshObject)


class ManifestError(OsmError):
    """A manifest cannot be used; the text names the file, the document in it and the field, as far as known."""


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


_KINDS: Final[Mapping[tuple[str, str], type[MeshObject]]] = {
    ("", "Namespace"): Namespace,
    ("", "ServiceAccount"): ServiceAccount,
    ("", "Service"): ServiceObject,
    ("", "Endpoints"): Endpoints,
    ("", "Pod"): Pod,
    ("discovery.k8s.io", "EndpointSlice"): EndpointSlice,
    ("config.openservicemesh.io", "MeshConfig"): MeshConfig,
    ("access.smi-spec.io", "TrafficTarget"): TrafficTarget,
    ("specs.smi-spec.io", "HTTPRouteGroup"): HTTPRouteGroup,
    ("specs.smi-spec.io", "TCPRoute"): TCPRoute,
    ("split.smi-spec.io", "TrafficSplit"): TrafficSplit,
}


# In seconds. Below, issuing certificates would be all that the controller does; above, no date can take it.
_SHORTEST: Final = 5.0
_LONGEST: Final = 1e10


def objects_from_manifest(document: object) -> Iterator[MeshObject]:
    """The typed objects of one document, without those that do not matter here; a List is unwrapped.

    Null is unset, as in Kubernetes: the document must hold none. Raises ManifestError, naming the field.
    """
    yield from _objects(document, at="")


def _objects(document: object, *, at: str) -> Iterator[MeshObject]:
    if not isinstance(document, dict):
        raise ManifestError(f"{at or 'the document'}: expected an object, got {type(document).__name__}")
    kind, version = document.get("kind"), document.get("apiVersion")
    for name, value in (("kind", kind), ("apiVersion", version)):
        if not isinstance(value, str):
            raise ManifestError(f"{_below(at, name)}: expected a string, got {type(value).__name__}")
    if version == "v1" and str(kind).endswith("List"):
        items = document.get("items", [])
        if not isinstance(items, list):
            raise ManifestError(f"{_below(at, 'items')}: expected a list, got {type(items).__name__}")
        for index, item in enumerate(items):
            yield from _objects(item, at=_below(at, f"items[{index}]"))
        return
    group = str(version).rpartition("/")[0]
    wanted = _KINDS.get((group, str(kind)))
    if wanted is None or document.get("addressType") == "FQDN":
        logger("sources").debug("a manifest is of no concern", kind=kind, group=group)
        return
    yield convert(document, wanted, at=at)


def convert(document: dict[str, Any], wanted: type[T], *, at: str = "") -> T:
    """A document without nulls -> the typed object. Raises ManifestError, naming the field below `at`."""
    try:
        return msgspec.convert(document, wanted, dec_hook=decode_part)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        where = _below(at, path.rstrip("`").lstrip("."))
        raise ManifestError(f"{where}: {what}" if where else what) from error


def _below(at: str, name: str) -> str:
    return f"{at}.{name}" if at and name else at or name


def decode_part(wanted: type, value: object) -> object:
    """What msgspec asks for parts whose types are ours. Raises ValueError."""
    if not isinstance(value, str):
        # msgspec adds the field's path to this type of error alone.
        raise ValueError(f"Expected `str`, got `{type(value).__name__}`")  # noqa: TRY004
    if wanted is Validity:
        return Validity(_lasting(value))
    if wanted is Pattern:
        return Pattern(checked(value))
    if wanted is ClusterAddress and value in {"", "None"}:
        return ClusterAddress(value)
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        address = None
    if address is None or "%" in value:
        raise ValueError(f"{value!r} is no IP address")
    return wanted(str(address))


def _lasting(text: str) -> float:
    seconds = seconds_of(text)
    if not 0 < seconds < _LONGEST:
        raise ValueError(f"{text!r} is no duration above 0 such as 24h or 1h30m")
    if seconds < _SHORTEST:
        raise ValueError(f"{text!r} is below {_SHORTEST:g}s, the shortest validity of certificates")
    return seconds


def decoder_of(kind: type[T]) -> Callable[[bytes], T | None]:
    """What reads objects of this kind: pruned while they are parsed. It raises ManifestError, naming the field.

    None: an object that does not matter here.
    """
    quick = msgspec.json.Decoder(kind, dec_hook=decode_part)

    def decode(content: bytes) -> T | None:
        try:
            return quick.decode(content)
        except msgspec.ValidationError:
            # A null somewhere, which is rare, or something wrong: both want a second look.
            return _decoded_slowly(content, kind)
        except msgspec.DecodeError as error:
            raise ManifestError(f"no JSON: {error}") from error

    return decode


def _decoded_slowly(content: bytes, kind: type[T]) -> T | None:
    document = without_nulls(msgspec.json.decode(content))
    if not isinstance(document, dict):
        raise ManifestError("no object")
    if document.get("addressType") == "FQDN":
        return None
    return convert(document, kind)
