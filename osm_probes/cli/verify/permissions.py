"""Check `Permissions of …`: the service accounts of the control plane have the permissions that the chart grants."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from osm_probes.cli.verify.result import Result, failure, success, unknown, warning
from osm_probes.kube.errors import KubernetesError
from osm_probes.kube.kind import (
    ENDPOINT_SLICES,
    EVENTS,
    HTTP_ROUTE_GROUPS,
    LEASES,
    MESH_CONFIGS,
    NAMESPACES,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    TCP_ROUTES,
    TRAFFIC_SPLITS,
    TRAFFIC_TARGETS,
    WEBHOOKS,
    Kind,
)
from osm_probes.mesh.names import CONTROLLER, INJECTOR


@dataclass(frozen=True, slots=True)
class Permission:
    """A verb of a kind, in all namespaces or only in the control plane's or in `namespace`.

    name: limits it to one object. optional: without it the control plane works, but tells less.
    """

    kind: Kind
    verb: str
    own_namespace_only: bool = False
    name: str = ""
    namespace: str = ""
    optional: bool = False

    @property
    def resource(self) -> str:
        """The kind and the name of the object, for a message."""
        return f"{self.kind} {self.name}" if self.name else str(self.kind)


def _everywhere(kind: Kind, *verbs: str) -> Iterator[Permission]:
    return (Permission(kind, verb) for verb in verbs)


def _in_own_namespace(kind: Kind, *verbs: str, name: str = "") -> Iterator[Permission]:
    return (Permission(kind, verb, own_namespace_only=True, name=name) for verb in verbs)


_MESH_KINDS: Final = (
    *(NAMESPACES, PODS, SERVICE_ACCOUNTS, SERVICES, ENDPOINT_SLICES),
    *(TRAFFIC_TARGETS, HTTP_ROUTE_GROUPS, TCP_ROUTES, TRAFFIC_SPLITS),
)


def required_permissions(app: str, *, mesh: str, ca_secret: str, mesh_config: str) -> tuple[Permission, ...]:
    """The permissions that the chart grants an app of a mesh. ca_secret, mesh_config: names of objects."""
    shared = (
        *_in_own_namespace(MESH_CONFIGS, "list", "watch", name=mesh_config),
        *_in_own_namespace(SECRETS, "get", "list", "watch", name=ca_secret),
        *_in_own_namespace(SECRETS, "create"),
        *_in_own_namespace(PODS, "get"),
        *_in_own_namespace(EVENTS, "create", "patch"),
    )
    if app == INJECTOR:
        webhooks = (Permission(WEBHOOKS, verb, name=f"osm-webhook-{mesh}") for verb in ("list", "watch", "patch"))
        return (
            *_everywhere(NAMESPACES, "get", "list", "watch"),
            *webhooks,
            *shared,
        )
    return (
        *(permission for kind in _MESH_KINDS for permission in _everywhere(kind, "list", "watch")),
        # Events on the pods of sidecars that reject their configuration.
        *(Permission(EVENTS, verb, optional=True) for verb in ("create", "patch")),
        *_in_own_namespace(SECRETS, "patch", name=ca_secret),
        *_in_own_namespace(LEASES, "get", "update", name=CONTROLLER),
        *_in_own_namespace(LEASES, "create"),
        *shared,
    )


def subject_access_review(permission: Permission, *, namespace: str, account: str) -> Mapping[str, object]:
    """A SubjectAccessReview: whether a service account of the control plane has the permission."""
    attributes = {
        "group": permission.kind.group,
        "resource": permission.kind.plural,
        "verb": permission.verb,
        "name": permission.name,
        "namespace": namespace if permission.own_namespace_only else permission.namespace,
    }
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
    user = f"system:serviceaccount:{namespace}:{account}"
    return {"spec": {"user": user, "groups": groups, "resourceAttributes": attributes}}


def check_permissions(app: str, permissions: Mapping[Permission, bool] | KubernetesError) -> Result:
    """Check that an app has its required permissions. `permissions`: whether each of them is granted."""
    name = f"Permissions of {app}"
    if isinstance(permissions, KubernetesError):
        return unknown(name, permissions.explain("create subjectaccessreviews"))
    missing = [permission for permission, granted in permissions.items() if not granted]
    if not missing:
        return success(name)
    verbs: dict[str, list[str]] = {}
    for permission in missing:
        verbs.setdefault(permission.resource, []).append(permission.verb)
    reasons = (f"it may not {', '.join(may_not)} {resource}" for resource, may_not in verbs.items())
    result = warning if all(permission.optional for permission in missing) else failure
    return result(
        name, *reasons, suggestions=["install the chart again: its ClusterRoles and Roles grant the permissions"]
    )
