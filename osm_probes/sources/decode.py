"""Plain dicts of Kubernetes manifests -> typed objects, with errors that name the field."""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

import msgspec

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
from osm_probes.sources.parts import ClusterAddress, Pattern, Validity
from osm_probes.sources.pattern import checked
from osm_probes.sources.smi import HTTPRouteGroup, TCPRoute, TrafficSplit, TrafficTarget

T = TypeVar("T", bound=MeshObject)


class ManifestError(OsmError):
    """A manifest cannot be used; the text names the file, the document in it and the field, as far as known."""


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
