"""`osm namespace …`: which namespaces belong to which mesh."""

import argparse
import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from osm_probes.cli.cluster import in_cluster
from osm_probes.cli.console import Console
from osm_probes.cli.control_planes import CONTROLLER
from osm_probes.cli.objects import Deployment, Namespace
from osm_probes.foundation.errors import OsmError
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import ConflictError, KubernetesError
from osm_probes.kube.kind import DEPLOYMENTS, NAMESPACES
from osm_probes.kube.list_options import ListOptions
from osm_probes.kube.paging import listed
from osm_probes.mesh.labels import IGNORE, INJECTION, METRICS, MONITORED_BY

_COLUMNS: Final = ("NAMESPACE", "MESH", "SIDECAR-INJECTION")
_ATTEMPTS: Final = 5


class NamespaceError(OsmError):
    """A namespace was not changed; the text says which and why."""


class NamespaceRow(msgspec.Struct, frozen=True, rename="camel"):
    """A namespace of a mesh, as `osm namespace list` tells it."""

    namespace: str
    mesh: str
    sidecar_injection: str


def list_namespaces(given: argparse.Namespace) -> int:
    """The namespaces of a mesh, or of all."""
    return in_cluster(given, lambda client: _list(client, mesh=given.mesh_name, form=given.output, console=Console()))


def add_namespaces(given: argparse.Namespace) -> int:
    """Label namespaces, so that the mesh follows them and, unless that is disabled, their new pods get sidecars."""
    injection = "disabled" if given.disable_sidecar_injection else "enabled"
    return _each(given, lambda client, name: add_namespace(client, name, mesh=given.mesh_name, injection=injection))


def remove_namespaces(given: argparse.Namespace) -> int:
    """Take namespaces out of their mesh."""
    return _each(given, lambda client, name: remove_namespace(client, name, mesh=given.mesh_name))


def ignore_namespaces(given: argparse.Namespace) -> int:
    """Keep namespaces out of every mesh."""
    return _each(given, ignore_namespace)


async def add_namespace(client: KubernetesClient, name: str, *, mesh: str, injection: str) -> str:
    """What was done. Raises NamespaceError."""
    controllers = await _controllers(client)
    if mesh not in {each.metadata.labels.get("meshName") for each in controllers}:
        raise NamespaceError(
            f"mesh [{mesh}] does not exist, please specify another mesh using --mesh-name or create a new mesh"
        )
    if name in {each.metadata.namespace for each in controllers}:
        return f"Namespace [{name}] already has [{CONTROLLER}] installed and cannot be added to mesh [{mesh}]"

    def change(namespace: Namespace) -> Mapping[str, object] | str:
        labels = namespace.metadata.labels
        if labels.get(MONITORED_BY) == mesh:
            return f"Namespace [{name}] has already been added to mesh [{mesh}]"
        if MONITORED_BY in labels:
            raise _not_ours(labels[MONITORED_BY], mesh)
        if labels.get(IGNORE) == "true":
            raise NamespaceError("Cannot add ignored namespace")
        return {"labels": {MONITORED_BY: mesh}, "annotations": {INJECTION: injection}}

    done = f"Namespace [{name}] successfully added to mesh [{mesh}]"
    return await _change(client, name, change, done=done, failed=f"Could not add namespace [{name}] to mesh [{mesh}]")


async def remove_namespace(client: KubernetesClient, name: str, *, mesh: str) -> str:
    """What was done. Raises NamespaceError."""

    def change(namespace: Namespace) -> Mapping[str, object] | str:
        owner = namespace.metadata.labels.get(MONITORED_BY)
        if owner is None:
            return f"Namespace [{name}] already does not belong to any mesh"
        if owner != mesh:
            raise _not_ours(owner, mesh)
        return {"labels": {MONITORED_BY: None, IGNORE: None}, "annotations": {INJECTION: None, METRICS: None}}

    done = f"Namespace [{name}] successfully removed from mesh [{mesh}]"
    failed = f"Could not remove namespace [{name}] from mesh [{mesh}]"
    return await _change(client, name, change, done=done, failed=failed)


async def ignore_namespace(client: KubernetesClient, name: str) -> str:
    """What was done. Raises NamespaceError."""
    done = f"Successfully configured namespace [{name}] to be ignored"
    failed = f"Failed to configure namespace [{name}] to be ignored"
    return await _change(client, name, lambda _: {"labels": {IGNORE: "true"}}, done=done, failed=failed)


def _not_ours(owner: str, mesh: str) -> NamespaceError:
    return NamespaceError(f"Namespace belongs to mesh [{owner}], not mesh [{mesh}]. Please specify the correct mesh")


async def _change(
    client: KubernetesClient,
    name: str,
    change: Callable[[Namespace], Mapping[str, object] | str],
    *,
    done: str,
    failed: str,
) -> str:
    """Change a namespace's metadata as of the version that was decided on; `done`, or why there was nothing to do."""
    try:
        for _ in range(_ATTEMPTS):
            namespace = msgspec.json.decode(await client.read(NAMESPACES, name), type=Namespace)
            decided = change(namespace)
            if isinstance(decided, str):
                return decided
            version = namespace.metadata.resource_version
            with contextlib.suppress(ConflictError):
                await client.patch(NAMESPACES, name, {"metadata": {"resourceVersion": version, **decided}})
                return done
    except (KubernetesError, msgspec.DecodeError) as error:
        raise NamespaceError(f"{failed}: {error}") from error
    raise NamespaceError(f"{failed}: others change it all the time")


def _each(given: argparse.Namespace, do: Callable[[KubernetesClient, str], Awaitable[str]]) -> int:
    """Do it to every namespace that is named; 1 if it failed for any."""
    return in_cluster(given, lambda client: _all_done(client, given.namespaces, do, console=Console()))


async def _all_done(
    client: KubernetesClient,
    names: Sequence[str],
    do: Callable[[KubernetesClient, str], Awaitable[str]],
    *,
    console: Console,
) -> int:
    status = 0
    for name in names:
        try:
            console.say(await do(client, name))
        except OsmError as error:
            console.fail(error)
            status = 1
    return status


async def _list(client: KubernetesClient, *, mesh: str, form: str, console: Console) -> int:
    with console.working("asking for namespaces"):
        namespaces, controllers = await asyncio.gather(
            listed(client, ListOptions(NAMESPACES, labels=MONITORED_BY), type=Namespace), _controllers(client)
        )
    rows = [row for row in map(_row, namespaces) if mesh in {"", row.mesh}]
    if form != "table":
        console.document(rows, form=form)
    elif rows:
        console.table(_COLUMNS, [(row.namespace, row.mesh, row.sidecar_injection) for row in rows])
    else:
        console.say(f"No namespaces in mesh [{mesh}]" if mesh else "No namespaces in any mesh")
    for warning in _warnings(namespaces, controllers, mesh=mesh):
        console.warn(warning)
    return 0


def _row(namespace: Namespace) -> NamespaceRow:
    metadata = namespace.metadata
    injection = "disabled (ignored)" if IGNORE in metadata.labels else metadata.annotations.get(INJECTION, "-")
    return NamespaceRow(metadata.name, metadata.labels[MONITORED_BY], injection)


def _warnings(namespaces: Sequence[Namespace], controllers: Sequence[Deployment], *, mesh: str) -> Iterator[str]:
    """A control plane whose own namespace is enrolled would be given sidecars, and then not start."""
    owners = {each.metadata.name: each.metadata.labels[MONITORED_BY] for each in namespaces}
    for controller in controllers:
        home, own = controller.metadata.namespace, controller.metadata.labels.get("meshName", "")
        if home in owners and mesh in {"", own}:
            owner = owners[home]
            yield (
                f"{home} (mesh {own}) is enrolled in mesh {owner}: run osm namespace remove {home} --mesh-name {owner}"
            )


async def _controllers(client: KubernetesClient) -> list[Deployment]:
    return await listed(client, ListOptions(DEPLOYMENTS, labels=f"app={CONTROLLER}"), type=Deployment)
