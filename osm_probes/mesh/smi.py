"""Vocabulary: the versions of the Service Mesh Interface that this mesh speaks."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from msgspec import json

SMI_PATH: Final = "/smi/version"

SMI_VERSIONS: Final[Mapping[str, str]] = {
    "HTTPRouteGroup": "specs.smi-spec.io/v1alpha4",
    "TCPRoute": "specs.smi-spec.io/v1alpha4",
    "TrafficSplit": "split.smi-spec.io/v1alpha2",
    "TrafficTarget": "access.smi-spec.io/v1alpha3",
}


def smi_body(served: Mapping[str, str] = MappingProxyType({})) -> str:
    """What SMI_PATH answers, and `osm mesh list` shows; `served` are other versions, by kind, that a cluster has."""
    return json.encode({**SMI_VERSIONS, **served}).decode()
