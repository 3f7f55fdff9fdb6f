"""Bytes of manifests, from files or from the API server -> typed objects. Hostile YAML is rejected safely."""

import ipaddress
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from osm_probes.foundation.durations import seconds_of
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.logs import logger
from osm_probes.foundation.text import legible, one_line
from osm_probes.foundation.yaml_loader import YamlDocument, YamlError, load_yaml
from osm_probes.foundation.yaml_schema import with_yaml11_booleans
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
from osm_probes.sources.schema import ClusterAddress, Pattern, Validity
from osm_probes.sources.smi import HTTPRouteGroup, TCPRoute, TrafficSplit, TrafficTarget

T = TypeVar("T", bound=MeshObject)

_LONGEST_ERROR: Final = 500
_MAX_WARNED_LINES: Final = 20
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

    Raises ManifestError with the number of the document, from 1, and the line or the field, but without the file.
    """
    objects: list[MeshObject] = []
    with _as_manifest_error():
        for document in [_read_json(content)] if path.suffix == ".json" else load_yaml(content):
            with _as_manifest_error(f"document {document.number}: "):
                objects += _document_objects(document, path)
    return tuple(objects)


@contextmanager
def _as_manifest_error(where: str = "") -> Iterator[None]:
    """The boundary to texts of others: whatever is raised becomes a ManifestError, so that it never ends a program."""
    try:
        yield
    except MemoryError:  # not a fault of the text
        raise
    except (ManifestError, YamlError) as error:
        raise ManifestError(f"{where}{one_line(str(error))[:_LONGEST_ERROR]}") from error
    except RecursionError as error:
        raise ManifestError(f"{where}nested too deep") from error
    except Exception as error:
        text = one_line(f"{type(error).__name__}: {error}")
        raise ManifestError(f"{where}it cannot be read: {text[:_LONGEST_ERROR]}") from error


def object_decoder(object_type: type[T]) -> Callable[[bytes], T | None]:
    """A decoder of objects of this type from the API server's JSON. It returns None for an object to skip.

    The decoder raises ManifestError with the field.
    """
    decoder = msgspec.json.Decoder(object_type, dec_hook=_decode_field)

    def decode(content: bytes) -> T | None:
        with _as_manifest_error():
            try:
                return decoder.decode(content)
            except (msgspec.DecodeError, UnicodeDecodeError):
                # The object is invalid or, rarely, has a null: the slow way accepts nulls.
                return _decode_with_nulls(content, object_type)

    return decode


def _decode_with_nulls(content: bytes, object_type: type[T]) -> T | None:
    document = _without_nulls(_decode_json(content))
    if not isinstance(document, dict):
        raise ManifestError("not an object")
    if _has_dns_names(document):
        return None
    return _convert(document, object_type, at="")


def _read_json(content: bytes) -> YamlDocument:
    with _as_manifest_error("document 1: "):
        value = _without_nulls(_decode_json(content))
        # A second decoder, because msgspec keeps the last of two equal keys.
        json.loads(content, object_pairs_hook=_refuse_duplicate_keys, parse_int=str, parse_float=str)
        return YamlDocument(1, value, {})


def _decode_json(content: bytes) -> object:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"not JSON: {error}") from error


def _refuse_duplicate_keys(pairs: list[tuple[str, object]]) -> None:
    keys: set[str] = set()
    for key, _ in pairs:
        if key in keys:
            raise ManifestError(f"the key {key[:64]!r} is defined twice in one object")
        keys.add(key)


def _without_nulls(node: object) -> object:
    """The node without nulls, which mean unset in Kubernetes."""
    if isinstance(node, dict):
        return {key: _without_nulls(value) for key, value in node.items() if value is not None}
    if isinstance(node, list):
        return [_without_nulls(value) for value in node if value is not None]
    return node


def _document_objects(document: YamlDocument, path: Path) -> list[MeshObject]:
    """The objects of a document as kubectl reads it; if kubectl would refuse it, as YAML 1.2, with a warning."""
    if document.value is None:
        return []
    if not document.yaml11_booleans:
        return list(_objects(document.value, at=""))
    try:
        return list(_objects(with_yaml11_booleans(document.value), at=""))
    except ManifestError as error:
        # The error is not about a boolean: the reading as texts would have it too.
        if "got `bool`" not in str(error):
            raise
    objects = list(_objects(document.value, at=""))
    lines = ", ".join(f"{line}: {text}" for line, text in list(document.yaml11_booleans.items())[:_MAX_WARNED_LINES])
    logger("sources").warning(
        "kubectl would refuse a manifest: it reads an unquoted yes, no, on, off, y or n as a boolean; quote the text",
        manifest=legible(path),
        document=document.number,
        lines=lines,
    )
    return objects


def _objects(document: object, *, at: str) -> Iterator[MeshObject]:
    """The objects of a document. at: the path of the document in a List, for error messages."""
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
        problem, separator, path = str(error).rpartition(" - at `$")
        if not separator:
            problem, path = path, ""
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
        return Pattern(value)
    if field_type is ClusterAddress and value in {"", "None"}:
        return ClusterAddress(value)
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        address = None
    if address is None or "%" in value:
        raise ValueError(f"{value[:64]!r} is not an IP address")
    return field_type(str(address))


def _parse_validity(text: str) -> float:
    seconds = seconds_of(text)
    if not 0 < seconds < _MAX_VALIDITY:
        raise ValueError(f"{text!r} is not a duration above 0 such as 24h or 1h30m")
    if seconds < _MIN_VALIDITY:
        raise ValueError(f"{text!r} is below {_MIN_VALIDITY:g}s, the shortest validity of certificates")
    return seconds
