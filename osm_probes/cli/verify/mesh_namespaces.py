"""Checks of the mesh's namespaces: the control plane may keep Secrets there, and its key proves the pods' uuids."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from osm_probes.cli.objects import Namespace, ObjectWithMetadata
from osm_probes.cli.verify.permissions import Permission, subject_access_review
from osm_probes.cli.verify.result import Result, success, unknown, warning
from osm_probes.kube.access_review import review_allows
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import KubernetesError
from osm_probes.kube.kind import ACCOUNT_REVIEWS, NAMESPACES, PODS, SECRETS
from osm_probes.kube.list_options import ListOptions
from osm_probes.kube.paging import list_objects
from osm_probes.mesh.labels import IGNORE, MONITORED_BY, PROXY_UUID
from osm_probes.mesh.names import CONTROLLER, INJECTOR
from osm_probes.mesh.proxy_uuid import is_bound

_VERBS: Final = {CONTROLLER: "patch", INJECTOR: "create"}
"""One verb of each app's ClusterRole for Secrets of the mesh's namespaces."""
_AT_ONCE: Final = 16
_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class MeshNamespaces:
    """The namespaces of a mesh. denied: those where the control plane lacks permissions. unproven_pods: pods with a
    proxy whose uuid is not bound to their service account."""

    denied: Sequence[str]
    unproven_pods: Sequence[str]


async def collect_mesh_namespaces(
    client: KubernetesClient, *, mesh: str, osm_namespace: str, accounts: Mapping[str, str]
) -> MeshNamespaces:
    """The state of a mesh's namespaces. accounts: the service account of each app. Raises KubernetesError."""
    namespaces, pods = await asyncio.gather(
        list_objects(client, ListOptions(NAMESPACES, labels=f"{MONITORED_BY}={mesh}"), type=Namespace),
        list_objects(client, ListOptions(PODS, labels=PROXY_UUID, metadata=True), type=ObjectWithMetadata),
    )
    names = {namespace.metadata.name for namespace in namespaces}
    unproven = [pod.metadata for pod in pods if not is_bound(pod.metadata.labels[PROXY_UUID])]
    injected = {namespace.metadata.name for namespace in namespaces if IGNORE not in namespace.metadata.labels}
    missing = [
        await _denied(client, sorted(injected - {osm_namespace}), app=app, account=account, osm_namespace=osm_namespace)
        for app, account in accounts.items()
    ]
    return MeshNamespaces(
        sorted(set().union(*missing)),
        sorted(f"{pod.namespace}/{pod.name}" for pod in unproven if pod.namespace in names),
    )


async def _denied(
    client: KubernetesClient, names: Sequence[str], *, app: str, account: str, osm_namespace: str
) -> list[str]:
    """The namespaces where a service account lacks its permission. First it is asked whether it has it everywhere."""
    limit = asyncio.Semaphore(_AT_ONCE)

    async def is_allowed(name: str) -> bool:
        permission = Permission(SECRETS, _VERBS[app], namespace=name)
        review = subject_access_review(permission, namespace=osm_namespace, account=account)
        async with limit:
            return review_allows(await client.create(ACCOUNT_REVIEWS, review))

    if not names or await is_allowed(""):
        return []
    allowed = await asyncio.gather(*map(is_allowed, names))
    return [name for name, is_permitted in zip(names, allowed, strict=True) if not is_permitted]


def check_mesh_namespaces(mesh: str, state: MeshNamespaces | KubernetesError) -> Iterator[Result]:
    """Warn about namespaces whose pods are refused, and about pods to restart."""
    permissions, sidecars = "Permissions in the mesh's namespaces", "Uuids of sidecars"
    if isinstance(state, KubernetesError):
        reason = state.explain("list namespaces and pods, and create subjectaccessreviews")
        yield unknown(permissions, reason)
        yield unknown(sidecars, reason)
        return
    yield _warn(
        permissions,
        state.denied,
        reason="the control plane may not keep Secrets there, so new pods are refused",
        suggestions=[f"osm namespace add {name} --mesh-name {mesh}" for name in state.denied],
    )
    yield _warn(
        sidecars,
        state.unproven_pods,
        reason="not bound to a service account: injected by an earlier version, or without the key proxy-uuid.key",
        suggestions=["restart these pods, such as with kubectl rollout restart"],
    )


def _warn(name: str, found: Sequence[str], *, reason: str, suggestions: Sequence[str]) -> Result:
    if not found:
        return success(name)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return warning(name, f"{', '.join(found[:_SHOWN])}{more}: {reason}", suggestions=suggestions[:_SHOWN])
