"""Bytes of manifests, from files or from the API server -> typed objects. Hostile YAML is rejected safely."""

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
from osm_probes.sources.regex import check_regex
from osm_probes.sources.schema import ClusterAddress, Pattern, Validity
from osm_probes.sources.smi import HTTPRouteGroup, TCPRoute, TrafficSplit, TrafficTarget

T = TypeVar("T", bound=MeshObject)

_MAX_DEPTH: Final = 64
_MAX_NODES: Final = 1_000_000
_END: Final = object()
# In seconds. With less, the controller would do nothing but issue certificates; with more, the end is out of range.
_MIN_VALIDITY: Final = 5.0
_MAX_VALIDITY: Final = 1e10
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


class ManifestError(OsmError):
    """A manifest is invalid. The text names the file, the document and the field, as far as they are known."""


def read_objects(path: Path, content: bytes) -> tuple[MeshObject, ...]:
    """The objects of a file; kinds that do not belong to a mesh are skipped, and a List is unwrapped.

    Raises ManifestError with the number of the document, from 1, and the field, but without the file.
    """
    objects: list[MeshObject] = []
    documents = _documents(path, content)
    for number in itertools.count(1):
        try:
            document = next(documents, _END)
            if document is _END:
                break
            clean = _without_nulls(document)
            if clean is not None:
                objects += _objects(clean, at="")
        except (ManifestError, yaml.YAMLError, msgspec.DecodeError, ValueError) as error:
            raise ManifestError(f"document {number}: {' '.join(str(error).split())}") from error
        except RecursionError as error:
            raise ManifestError(f"document {number}: nested too deep") from error
    return tuple(objects)


def object_decoder(object_type: type[T]) -> Callable[[bytes], T | None]:
    """A decoder of objects of this type from the API server's JSON. It returns None for an object to skip.

    The decoder raises ManifestError with the field.
    """
    decoder = msgspec.json.Decoder(object_type, dec_hook=_decode_field)

    def decode(content: bytes) -> T | None:
        try:
            return decoder.decode(content)
        except msgspec.ValidationError:
            # The object is invalid or, rarely, has a null: the slow way accepts nulls.
            return _decode_with_nulls(content, object_type)
        except msgspec.DecodeError as error:
            raise ManifestError(f"not JSON: {error}") from error

    return decode


def _decode_with_nulls(content: bytes, object_type: type[T]) -> T | None:
    document = _without_nulls(msgspec.json.decode(content))
    if not isinstance(document, dict):
        raise ManifestError("not an object")
    if _has_dns_names(document):
        return None
    return _convert(document, object_type, at="")


class _Loader(yaml.CSafeLoader):
    """Loads YAML as Kubernetes does: a date stays a string."""


_Loader.yaml_implicit_resolvers = {
    first: [resolver for resolver in resolvers if resolver[0] != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _documents(path: Path, content: bytes) -> Iterator[object]:
    if path.suffix == ".json":
        yield msgspec.json.decode(content)
        return
    # The C loader is recursive: 100,000 brackets overflow its stack and crash the process. Parsing to events is not.
    if _is_too_deep(content):
        raise RecursionError
    yield from yaml.load_all(content, Loader=_Loader)


def _is_too_deep(content: bytes) -> bool:
    depth = 0
    # The loader reports syntax errors, with the number of the document.
    with contextlib.suppress(yaml.YAMLError):
        for event in yaml.parse(content, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                return True
    return False


def _without_nulls(document: object) -> object:
    """The document without nulls, which mean unset in Kubernetes. Raises ManifestError if it is too large."""
    return _NullRemover().clean(document)[0]


class _NullRemover:
    """Copies one document without its nulls, and counts its nodes with all aliases expanded."""

    def __init__(self) -> None:
        self._cleaned: dict[int, tuple[Any, int]] = {}

    def clean(self, node: object) -> tuple[object, int]:
        """The copy of a node, and its number of nodes. Raises ManifestError if that exceeds the limit."""
        if not isinstance(node, (dict, list)):
            return node, 1
        cleaned = self._cleaned.get(id(node))
        if cleaned is not None:
            return cleaned
        # A node that contains itself is found again before it is complete: then it exceeds the limit.
        self._cleaned[id(node)] = (None, _MAX_NODES)
        items = node.items() if isinstance(node, dict) else enumerate(node)
        kept = [(key, *self.clean(value)) for key, value in items if value is not None]
        size = 1 + sum(item_size for _, _, item_size in kept)
        if size > _MAX_NODES:
            raise ManifestError("its aliases make it too large")
        copy = {key: value for key, value, _ in kept} if isinstance(node, dict) else [value for _, value, _ in kept]
        self._cleaned[id(node)] = (copy, size)
        return copy, size


def _objects(document: object, *, at: str) -> Iterator[MeshObject]:
    """The objects of a document without nulls. at: the path of the document in a List, for error messages."""
    if not isinstance(document, dict):
        raise ManifestError(f"{at or 'the document'}: expected an object, got {type(document).__name__}")
    kind, version = document.get("kind"), document.get("apiVersion")
    for name, value in (("kind", kind), ("apiVersion", version)):
        if not isinstance(value, str):
            raise ManifestError(f"{_join(at, name)}: expected a string, got {type(value).__name__}")
    if version == "v1" and str(kind).endswith("List"):
        items = document.get("items", [])
        if not isinstance(items, list):
            raise ManifestError(f"{_join(at, 'items')}: expected a list, got {type(items).__name__}")
        for index, item in enumerate(items):
            yield from _objects(item, at=_join(at, f"items[{index}]"))
        return
    group = str(version).rpartition("/")[0]
    object_type = _KINDS.get((group, str(kind)))
    if object_type is None or _has_dns_names(document):
        logger("sources").debug("a manifest is skipped: the mesh does not use its kind", kind=kind, group=group)
        return
    yield _convert(document, object_type, at=at)


def _has_dns_names(document: dict[str, Any]) -> bool:
    """True for an EndpointSlice of DNS names instead of IP addresses, which the mesh does not support."""
    return document.get("addressType") == "FQDN"


def _convert(document: dict[str, Any], object_type: type[T], *, at: str) -> T:
    try:
        return msgspec.convert(document, object_type, dec_hook=_decode_field)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        field = _join(at, path.rstrip("`").lstrip("."))
        raise ManifestError(f"{field}: {problem}" if field else problem) from error


def _join(at: str, name: str) -> str:
    return f"{at}.{name}" if at and name else at or name


def _decode_field(field_type: type, value: object) -> object:
    """The msgspec hook for the types of `schema`. Raises ValueError."""
    if not isinstance(value, str):
        # Only to a ValueError does msgspec add the path of the field.
        raise ValueError(f"Expected `str`, got `{type(value).__name__}`")  # noqa: TRY004
    if field_type is Validity:
        return Validity(_parse_validity(value))
    if field_type is Pattern:
        return Pattern(check_regex(value))
    if field_type is ClusterAddress and value in {"", "None"}:
        return ClusterAddress(value)
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        address = None
    if address is None or "%" in value:
        raise ValueError(f"{value!r} is not an IP address")
    return field_type(str(address))


def _parse_validity(text: str) -> float:
    seconds = seconds_of(text)
    if not 0 < seconds < _MAX_VALIDITY:
        raise ValueError(f"{text!r} is not a duration above 0 such as 24h or 1h30m")
    if seconds < _MIN_VALIDITY:
        raise ValueError(f"{text!r} is below {_MIN_VALIDITY:g}s, the shortest validity of certificates")
    return seconds
