"""Vocabulary: the versions of the Service Mesh Interface that this mesh speaks."""

from collections.abc import Mapping
from typing import Final

SMI_VERSIONS: Final[Mapping[str, str]] = {
    "HTTPRouteGroup": "specs.smi-spec.io/v1alpha4",
    "TCPRoute": "specs.smi-spec.io/v1alpha4",
    "TrafficSplit": "split.smi-spec.io/v1alpha2",
    "TrafficTarget": "access.smi-spec.io/v1alpha3",
}
"""What /smi/version answers, and `osm mesh list` shows."""
