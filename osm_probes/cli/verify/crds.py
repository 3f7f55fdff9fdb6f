"""Check `CRDs`: the API server serves the custom resources of the chart. Without a kind, its objects have no effect."""

from collections.abc import Iterator, Mapping

import msgspec

from osm_probes.cli.verify.result import Result, group, success, unknown, warning
from osm_probes.kube.errors import KubernetesError, NotFoundError
from osm_probes.kube.kind import Kind


class _Resource(msgspec.Struct, frozen=True):
    name: str = ""


class _ResourceList(msgspec.Struct, frozen=True):
    resources: list[_Resource] = []


def serves_kind(resource_list: bytes, kind: Kind) -> bool:
    """Whether an APIResourceList, the discovery document of a group and version, contains the kind."""
    try:
        resources = msgspec.json.decode(resource_list, type=_ResourceList).resources
    except msgspec.DecodeError:
        return False
    return kind.plural in {resource.name for resource in resources}


def check_crds(discovery_errors: Mapping[Kind, KubernetesError | None]) -> Result:
    """Check each kind. `discovery_errors`: None if the kind is served, NotFoundError if it is not."""
    return group("CRDs", list(_check_kinds(discovery_errors)))


def _check_kinds(discovery_errors: Mapping[Kind, KubernetesError | None]) -> Iterator[Result]:
    for kind, error in discovery_errors.items():
        if isinstance(error, NotFoundError):
            reason = f"the API server does not serve {kind.version}: objects of this kind have no effect"
            yield warning(str(kind), reason, suggestions=["kubectl apply -f charts/osm/crds"])
        elif error:
            yield unknown(str(kind), str(error))
        else:
            yield success(str(kind))
