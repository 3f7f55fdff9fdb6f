"""What the control plane's service accounts must be allowed: the chart's rules, asked of the API server."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from osm_probes.cli.control_planes import CONTROLLER, INJECTOR
from osm_probes.cli.verify.result import Result, failure, unknown
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


@dataclass(frozen=True, slots=True)
class Permission:
    """A verb of a kind, everywhere or in the control plane's own namespace; `name` of one object alone."""

    kind: Kind
    verb: str
    own: bool = False
    name: str = ""

    @property
    def thing(self) -> str:
        """What it is about, for a person."""
        return f"{self.kind} {self.name}" if self.name else str(self.kind)


def _of(kind: Kind, *verbs: str) -> Iterator[Permission]:
    return (Permission(kind, verb) for verb in verbs)


def _own(kind: Kind, *verbs: str, name: str = "") -> Iterator[Permission]:
    return (Permission(kind, verb, own=True, name=name) for verb in verbs)


_WATCHED: Final = (
    *(NAMESPACES, PODS, SERVICE_ACCOUNTS, SERVICES, ENDPOINT_SLICES),
    *(TRAFFIC_TARGETS, HTTP_ROUTE_GROUPS, TCP_ROUTES, TRAFFIC_SPLITS),
)


def needed(app: str, *, mesh: str, secret: str, settings: str) -> tuple[Permission, ...]:
    """What one program of a mesh does; `secret`: of the certificate authority, `settings`: the MeshConfig."""
    both = (
        *_own(MESH_CONFIGS, "list", "watch", name=settings),
        *_own(SECRETS, "get", "list", "watch", name=secret),
        *_own(PODS, "get"),
        *_own(EVENTS, "create", "patch"),
    )
    if app == INJECTOR:
        webhooks = (Permission(WEBHOOKS, verb, name=f"osm-webhook-{mesh}") for verb in ("list", "watch", "patch"))
        return (*_of(NAMESPACES, "get", "list", "watch"), *_of(SECRETS, "create"), *webhooks, *both)
    return (
        *(permission for kind in _WATCHED for permission in _of(kind, "list", "watch")),
        *_of(SECRETS, "list", "watch", "patch", "delete"),
        *_own(SECRETS, "create"),
        *_own(LEASES, "get", "update", name=CONTROLLER),
        *_own(LEASES, "create"),
        *both,
    )


def review(permission: Permission, *, namespace: str, account: str) -> Mapping[str, object]:
    """The question whether a service account of the control plane may do it."""
    asked = {
        "group": permission.kind.group,
        "resource": permission.kind.plural,
        "verb": permission.verb,
        "name": permission.name,
        "namespace": namespace if permission.own else "",
    }
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
    user = f"system:serviceaccount:{namespace}:{account}"
    return {"spec": {"user": user, "groups": groups, "resourceAttributes": asked}}


def judge_permissions(account: str, allowed: Mapping[Permission, bool] | KubernetesError) -> Result:
    """What a service account may not do."""
    name = f"Permissions of {account}"
    if isinstance(allowed, KubernetesError):
        return unknown(name, allowed.needing("create subjectaccessreviews"))
    missing: dict[str, list[str]] = {}
    for permission, yes in allowed.items():
        if not yes:
            missing.setdefault(permission.thing, []).append(permission.verb)
    if not missing:
        return Result(name=name)
    do = ["install the chart again: its ClusterRoles and Roles bring them"]
    return failure(name, *(f"it may not {', '.join(verbs)}: {thing}" for thing, verbs in missing.items()), do=do)
