"""The supported versions of the Service Mesh Interface (SMI)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from msgspec import json

SMI_VERSIONS: Final[Mapping[str, str]] = {
    "HTTPRouteGroup": "specs.smi-spec.io/v1alpha4",
    "TCPRoute": "specs.smi-spec.io/v1alpha4",
    "TrafficSplit": "split.smi-spec.io/v1alpha2",
    "TrafficTarget": "access.smi-spec.io/v1alpha3",
}


def smi_version_body(served: Mapping[str, str] = MappingProxyType({})) -> str:
    """The JSON body of /smi/version. served: other versions that the cluster serves, by kind."""
    return json.encode({**SMI_VERSIONS, **served}).decode()
