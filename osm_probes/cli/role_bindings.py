"""A namespace of a mesh -> the RoleBindings that let the control plane keep the sidecars' Secrets there."""

from typing import Final

from osm_probes.cli.objects import ObjectWithMetadata
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import NotFoundError
from osm_probes.kube.kind import CLUSTER_ROLES, ROLE_BINDINGS
from osm_probes.kube.list_options import ListOptions
from osm_probes.kube.paging import list_objects
from osm_probes.mesh.labels import APP, MANAGED_BY, MESH_NAME
from osm_probes.mesh.names import CONTROLLER, INJECTOR

_APPLY: Final = "application/apply-patch+yaml"
_MANAGER: Final = "osm"


def bootstrap_role(app: str, osm_namespace: str) -> str:
    """The name of the chart's ClusterRole with the app's permissions for Secrets in namespaces of the mesh."""
    return f"{app}-bootstrap-secrets-{osm_namespace}"


async def grant(client: KubernetesClient, namespace: str, *, mesh: str, osm_namespace: str) -> None:
    """Bind the chart's ClusterRoles in a namespace, or repair the bindings. Raises KubernetesError.

    Does nothing if the chart has no such ClusterRoles: then its programs have the permissions everywhere.
    """
    for app in (CONTROLLER, INJECTOR):
        role = bootstrap_role(app, osm_namespace)
        try:
            await client.read(CLUSTER_ROLES, role)
        except NotFoundError:
            continue
        binding = {
            "apiVersion": ROLE_BINDINGS.api_version,
            "kind": ROLE_BINDINGS.name,
            "metadata": {
                "name": role,
                "namespace": namespace,
                "labels": {APP: app, MESH_NAME: mesh, MANAGED_BY: _MANAGER},
            },
            "roleRef": {"apiGroup": CLUSTER_ROLES.group, "kind": CLUSTER_ROLES.name, "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": app, "namespace": osm_namespace}],
        }
        path = ROLE_BINDINGS.path(namespace=namespace, name=role)
        query = {"fieldManager": _MANAGER, "force": "true"}
        await client.request("PATCH", path, query=query, body=binding, content_type=_APPLY)


async def revoke(client: KubernetesClient, namespace: str, *, mesh: str) -> None:
    """Delete the mesh's bindings in a namespace, also those of the chart. Raises KubernetesError."""
    labels = f"{MESH_NAME}={mesh},{APP} in ({CONTROLLER},{INJECTOR})"
    options = ListOptions(ROLE_BINDINGS, namespace=namespace, labels=labels)
    for binding in await list_objects(client, options, type=ObjectWithMetadata):
        try:
            await client.delete(ROLE_BINDINGS, binding.metadata.name, namespace=namespace)
        except NotFoundError:
            continue
