"""SMI objects -> what they come to in a mesh: permissions, splits, and policies that have no effect; pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from osm_probes.mesh.policy import Ignored, Permission, Split
from osm_probes.sources.objects import MeshObject
from osm_probes.sources.smi import HTTPRouteGroup, TCPRoute, TrafficSplit, TrafficTarget
from osm_probes.sources.splits import split_of
from osm_probes.sources.targets import Routes, permission_of


@dataclass(frozen=True, slots=True)
class Policies:
    """What the fields of `Mesh` with these names hold."""

    permissions: tuple[Permission, ...]
    splits: tuple[Split, ...]
    ignored: frozenset[Ignored]


def policies_from_objects(objects: Iterable[MeshObject]) -> Policies:
    """The policies among these objects of the mesh's namespaces, which come sorted by namespace and name.

    Of two TrafficSplits for one service the first counts.
    """
    known = list(objects)
    routes = _routes(known)
    permissions: list[Permission] = []
    splits: dict[tuple[str, str], Split] = {}
    ignored: list[Ignored] = []
    for each in known:
        reasons: tuple[str, ...] = ()
        if isinstance(each, TrafficTarget):
            permission, reasons = permission_of(each, routes=routes)
            permissions += [permission] if permission else []
        elif isinstance(each, TrafficSplit):
            split, reasons = split_of(each)
            if split and splits.setdefault((split.namespace, split.service), split) is not split:
                reasons = (f"another TrafficSplit is for the service {split.service!r}, too",)
        policy = f"{type(each).__name__} {each.metadata.namespace}/{each.metadata.name}"
        ignored += (Ignored(policy, reason) for reason in reasons)
    return Policies(tuple(sorted(permissions)), tuple(sorted(splits.values())), frozenset(ignored))


def _routes(objects: Iterable[MeshObject]) -> Routes:
    groups: dict[tuple[str, str], HTTPRouteGroup] = {}
    tcp: dict[tuple[str, str], TCPRoute] = {}
    for each in objects:
        place = each.metadata.namespace, each.metadata.name
        if isinstance(each, HTTPRouteGroup):
            groups[place] = each
        elif isinstance(each, TCPRoute):
            tcp[place] = each
    return Routes(groups, tcp)
