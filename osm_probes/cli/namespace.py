"""`osm namespace …`: list, add, remove and ignore the namespaces of a mesh."""

import argparse
import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from osm_probes.cli.api_client import run_with_client
from osm_probes.cli.objects import Deployment, Namespace
from osm_probes.cli.output import Console
from osm_probes.cli.role_bindings import grant, revoke
from osm_probes.foundation.errors import OsmError
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import ConflictError, KubernetesError
from osm_probes.kube.kind import DEPLOYMENTS, NAMESPACES
from osm_probes.kube.list_options import ListOptions
from osm_probes.kube.paging import list_objects
from osm_probes.mesh.labels import APP, IGNORE, INJECTION, MESH_NAME, METRICS, MONITORED_BY
from osm_probes.mesh.names import CONTROLLER

_COLUMNS: Final = ("NAMESPACE", "MESH", "SIDECAR-INJECTION")
_MAX_ATTEMPTS: Final = 5

Change: TypeAlias = Callable[[Namespace], Mapping[str, object] | str]
"""A namespace -> the patch of its metadata, or a message if there is nothing to change. Raises NamespaceError."""


class NamespaceError(OsmError):
    """A namespace was not changed; the text says which and why."""


class NamespaceRow(msgspec.Struct, frozen=True, rename="camel"):
    """A namespace of a mesh, as `osm namespace list` prints it."""

    namespace: str
    mesh: str
    sidecar_injection: str


def list_namespaces(arguments: argparse.Namespace) -> int:
    """Print the namespaces of one mesh, or of all meshes."""
    return run_with_client(
        arguments,
        lambda client: _list(client, mesh=arguments.mesh_name, output_format=arguments.output, console=Console()),
    )


def add_namespaces(arguments: argparse.Namespace) -> int:
    """Add namespaces to a mesh; their new pods get sidecars, unless --disable-sidecar-injection is given."""
    mesh, injection = arguments.mesh_name, "disabled" if arguments.disable_sidecar_injection else "enabled"
    return _run_for_each(arguments, lambda client, name: add_namespace(client, name, mesh=mesh, injection=injection))


def remove_namespaces(arguments: argparse.Namespace) -> int:
    """Remove namespaces from a mesh."""
    return _run_for_each(arguments, lambda client, name: remove_namespace(client, name, mesh=arguments.mesh_name))


def ignore_namespaces(arguments: argparse.Namespace) -> int:
    """Exclude namespaces from all meshes."""
    return _run_for_each(arguments, ignore_namespace)


async def add_namespace(client: KubernetesClient, name: str, *, mesh: str, injection: str) -> str:
    """Add a namespace to a mesh, or complete that; return a message for the user.

    The control plane gets its permissions there before the namespace joins: otherwise new pods would be refused. Raises
    NamespaceError, KubernetesError.
    """
    controllers = await _list_controllers(client)
    if mesh not in {controller.metadata.labels.get(MESH_NAME) for controller in controllers}:
        raise NamespaceError(
            f"mesh [{mesh}] does not exist, please specify another mesh using --mesh-name or create a new mesh"
        )
    if name in {controller.metadata.namespace for controller in controllers}:
        return f"Namespace [{name}] already has [{CONTROLLER}] installed and cannot be added to mesh [{mesh}]"

    def change(namespace: Namespace) -> Mapping[str, object] | str:
        labels = namespace.metadata.labels
        if labels.get(MONITORED_BY) == mesh:
            return f"Namespace [{name}] has already been added to mesh [{mesh}]"
        if MONITORED_BY in labels:
            raise _other_mesh_error(labels[MONITORED_BY], mesh)
        if labels.get(IGNORE) == "true":
            raise NamespaceError("Cannot add ignored namespace")
        return {"labels": {MONITORED_BY: mesh}, "annotations": {INJECTION: injection}}

    success = f"Namespace [{name}] successfully added to mesh [{mesh}]"
    failure = f"Could not add namespace [{name}] to mesh [{mesh}]"
    osm_namespaces = [
        controller.metadata.namespace for controller in controllers if controller.metadata.labels.get(MESH_NAME) == mesh
    ]

    async def prepare() -> None:
        for osm_namespace in osm_namespaces:
            await grant(client, name, mesh=mesh, osm_namespace=osm_namespace)

    return await _patch_namespace(client, name, change, success=success, failure=failure, prepare=prepare)


async def remove_namespace(client: KubernetesClient, name: str, *, mesh: str) -> str:
    """Remove a namespace from a mesh, and the mesh's permissions there; return a message for the user.

    Raises NamespaceError.
    """

    def change(namespace: Namespace) -> Mapping[str, object] | str:
        owner = namespace.metadata.labels.get(MONITORED_BY)
        if owner is None:
            return f"Namespace [{name}] already does not belong to any mesh"
        if owner != mesh:
            raise _other_mesh_error(owner, mesh)
        return {"labels": {MONITORED_BY: None, IGNORE: None}, "annotations": {INJECTION: None, METRICS: None}}

    success = f"Namespace [{name}] successfully removed from mesh [{mesh}]"
    failure = f"Could not remove namespace [{name}] from mesh [{mesh}]"
    message = await _patch_namespace(client, name, change, success=success, failure=failure)
    try:
        await revoke(client, name, mesh=mesh)
    except KubernetesError as error:
        raise NamespaceError(f"{message}, but the RoleBindings of the mesh are still there: {error}") from error
    return message


async def ignore_namespace(client: KubernetesClient, name: str) -> str:
    """Exclude a namespace from all meshes; return a message for the user. Raises NamespaceError."""
    success = f"Successfully configured namespace [{name}] to be ignored"
    failure = f"Failed to configure namespace [{name}] to be ignored"
    return await _patch_namespace(
        client, name, lambda _: {"labels": {IGNORE: "true"}}, success=success, failure=failure
    )


def _other_mesh_error(owner: str, mesh: str) -> NamespaceError:
    return NamespaceError(f"Namespace belongs to mesh [{owner}], not mesh [{mesh}]. Please specify the correct mesh")


async def _do_nothing() -> None:
    """The default preparation."""


async def _patch_namespace(
    client: KubernetesClient,
    name: str,
    change: Change,
    *,
    success: str,
    failure: str,
    prepare: Callable[[], Awaitable[None]] = _do_nothing,
) -> str:
    """Read a namespace and patch that resourceVersion; after a conflict, read it again. Returns a message.

    prepare: called when `change` permits the change, before it is made.
    """
    try:
        for _ in range(_MAX_ATTEMPTS):
            namespace = msgspec.json.decode(await client.read(NAMESPACES, name), type=Namespace)
            patch = change(namespace)
            await prepare()
            if isinstance(patch, str):
                return patch
            version = namespace.metadata.resource_version
            with contextlib.suppress(ConflictError):
                await client.patch(NAMESPACES, name, {"metadata": {"resourceVersion": version, **patch}})
                return success
    except (KubernetesError, msgspec.DecodeError) as error:
        raise NamespaceError(f"{failure}: {error}") from error
    raise NamespaceError(f"{failure}: it was changed by others during each of {_MAX_ATTEMPTS} attempts")


def _run_for_each(arguments: argparse.Namespace, command: Callable[[KubernetesClient, str], Awaitable[str]]) -> int:
    """Run a command for each given namespace. The exit status is 1 if it failed for any of them."""

    async def run(client: KubernetesClient) -> int:
        console = Console()
        status = 0
        for name in arguments.namespaces:
            try:
                console.print(await command(client, name))
            except OsmError as error:
                console.print_error(error)
                status = 1
        return status

    return run_with_client(arguments, run)


async def _list(client: KubernetesClient, *, mesh: str, output_format: str, console: Console) -> int:
    with console.progress("listing the namespaces"):
        namespaces, controllers = await asyncio.gather(
            list_objects(client, ListOptions(NAMESPACES, labels=MONITORED_BY), type=Namespace),
            _list_controllers(client),
        )
    rows = [row for row in map(_row, namespaces) if mesh in {"", row.mesh}]
    if output_format != "table":
        console.print_document(rows, output_format=output_format)
    elif rows:
        console.print_table(_COLUMNS, [(row.namespace, row.mesh, row.sidecar_injection) for row in rows])
    else:
        console.print(f"No namespaces in mesh [{mesh}]" if mesh else "No namespaces in any mesh")
    for warning in _warnings(namespaces, controllers, mesh=mesh):
        console.warn(warning)
    return 0


def _row(namespace: Namespace) -> NamespaceRow:
    metadata = namespace.metadata
    injection = "disabled (ignored)" if IGNORE in metadata.labels else metadata.annotations.get(INJECTION, "-")
    return NamespaceRow(metadata.name, metadata.labels[MONITORED_BY], injection)


def _warnings(namespaces: Sequence[Namespace], controllers: Sequence[Deployment], *, mesh: str) -> Iterator[str]:
    """Warn about enrolled namespaces of control planes, whose pods would get sidecars and then not start."""
    owners = {namespace.metadata.name: namespace.metadata.labels[MONITORED_BY] for namespace in namespaces}
    for controller in controllers:
        name, own_mesh = controller.metadata.namespace, controller.metadata.labels.get(MESH_NAME, "")
        if name in owners and mesh in {"", own_mesh}:
            owner = owners[name]
            yield (
                f"{name} (mesh {own_mesh}) is enrolled in mesh {owner}: "
                f"run osm namespace remove {name} --mesh-name {owner}"
            )


async def _list_controllers(client: KubernetesClient) -> list[Deployment]:
    return await list_objects(client, ListOptions(DEPLOYMENTS, labels=f"{APP}={CONTROLLER}"), type=Deployment)
