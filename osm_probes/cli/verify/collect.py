"""A cluster -> all that the checks need to know, asked at once; what cannot be read is kept as its error."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from osm_probes.admission.annotations import switch
from osm_probes.admission.pod import UnfitPodError
from osm_probes.cli.control_planes import CONTROLLER, INJECTOR, ControlPlane, control_planes
from osm_probes.cli.objects import Namespace, Pod
from osm_probes.cli.pod_http import ASKED_WITHIN, pod_text, pod_version
from osm_probes.cli.probe_client import PodProbes, probed
from osm_probes.cli.verify.containers import is_sidecar
from osm_probes.cli.verify.events import Event
from osm_probes.cli.verify.permissions import Permission, needed, review
from osm_probes.cli.verify.surroundings import EndpointSlice, Service, serves
from osm_probes.cli.verify.webhook import WebhookConfiguration, bundle_of
from osm_probes.kube.access_review import allowed_by
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import KubernetesError, NotFoundError
from osm_probes.kube.kind import (
    ACCOUNT_REVIEWS,
    ENDPOINT_SLICES,
    EVENTS,
    HTTP_ROUTE_GROUPS,
    LEASES,
    MESH_CONFIGS,
    NAMESPACES,
    PODS,
    SERVICES,
    TCP_ROUTES,
    TRAFFIC_SPLITS,
    TRAFFIC_TARGETS,
    WEBHOOKS,
    Kind,
)
from osm_probes.kube.lease import lease_of
from osm_probes.kube.list_options import ListOptions
from osm_probes.kube.paging import listed
from osm_probes.kube.pod_port import PodPort, distrust
from osm_probes.mesh.labels import IGNORE, INJECTION, MONITORED_BY
from osm_probes.mesh.ports import WEBHOOK_PORT

T = TypeVar("T")
Or: TypeAlias = T | KubernetesError

_KINDS: Final = (MESH_CONFIGS, TRAFFIC_TARGETS, HTTP_ROUTE_GROUPS, TCP_ROUTES, TRAFFIC_SPLITS)
_LOG_LINES: Final = "2000"
_LOG_BYTES: Final = str(1 << 20)


@dataclass(frozen=True, slots=True)
class PodState:
    """A pod of a control plane; `logs` by container; `distrust`: why an injector's certificate is not trusted."""

    pod: Pod
    probes: PodProbes
    metrics: Or[str]
    version: str
    logs: Mapping[str, Or[str]]
    distrust: Or[str] | None = None


@dataclass(frozen=True, slots=True)
class ControlPlaneState:
    """A control plane and what belongs to it; `allowed` by the program that needs it."""

    plane: ControlPlane
    pods: tuple[PodState, ...]
    events: Or[list[Event]]
    services: Or[list[Service]]
    slices: Or[list[EndpointSlice]]
    lease_holder: Or[str]
    allowed: Mapping[str, Or[Mapping[Permission, bool]]]


@dataclass(frozen=True, slots=True)
class ClusterState:
    """All control planes; `owners`: the mesh of each namespace that it injects; `served`: why a kind is not."""

    planes: tuple[ControlPlaneState, ...]
    owners: Or[Mapping[str, str]]
    webhooks: Or[list[WebhookConfiguration]]
    served: Mapping[Kind, KubernetesError | None]


async def look(client: KubernetesClient, *, namespace: str = "") -> ClusterState:
    """Everything about the control planes of a namespace, or all. Raises KubernetesError where none can be found."""
    webhooks = await _kept(listed(client, ListOptions(WEBHOOKS), type=WebhookConfiguration))
    planes, owners, served = await asyncio.gather(
        _planes(client, namespace, webhooks), _kept(_owners(client)), _served(client)
    )
    return ClusterState(planes, owners, webhooks, served)


async def _kept(asked: Awaitable[T]) -> Or[T]:
    try:
        return await asked
    except KubernetesError as error:
        return error


async def _planes(
    client: KubernetesClient, namespace: str, webhooks: Or[list[WebhookConfiguration]]
) -> tuple[ControlPlaneState, ...]:
    planes = await control_planes(client, namespace=namespace)
    return tuple(
        await asyncio.gather(*(_plane(client, each, bundle_pem=bundle_of(webhooks, each.mesh)) for each in planes))
    )


async def _owners(client: KubernetesClient) -> Mapping[str, str]:
    found = await listed(client, ListOptions(NAMESPACES, labels=f"{MONITORED_BY},!{IGNORE}"), type=Namespace)
    return {each.metadata.name: each.metadata.labels[MONITORED_BY] for each in found if _is_injected(each)}


def _is_injected(namespace: Namespace) -> bool:
    try:
        return switch(namespace.metadata.annotations, INJECTION, of="the namespace") is True
    except UnfitPodError:
        return False


async def _served(client: KubernetesClient) -> Mapping[Kind, KubernetesError | None]:
    return dict(zip(_KINDS, await asyncio.gather(*(_problem_of(client, kind) for kind in _KINDS)), strict=True))


async def _problem_of(client: KubernetesClient, kind: Kind) -> KubernetesError | None:
    """Why none of its versions is served; everybody may ask for that."""
    problem: KubernetesError | None = None
    for version in kind.versions:
        found = await _kept(client.ask("GET", f"/apis/{version.api_version}"))
        if not isinstance(found, KubernetesError) and serves(found, version):
            return None
        problem = problem or (found if isinstance(found, KubernetesError) else NotFoundError(f"no {kind}"))
    return problem


async def _plane(client: KubernetesClient, plane: ControlPlane, *, bundle_pem: str) -> ControlPlaneState:
    home = plane.namespace
    pods, events, services, slices, holder, allowed = await asyncio.gather(
        asyncio.gather(*(_pod(client, pod, bundle_pem=bundle_pem) for pod in plane.pods if not pod.leaving)),
        _kept(listed(client, ListOptions(EVENTS, namespace=home), type=Event)),
        _kept(listed(client, ListOptions(SERVICES, namespace=home), type=Service)),
        _kept(listed(client, ListOptions(ENDPOINT_SLICES, namespace=home), type=EndpointSlice)),
        _kept(_holder(client, home)),
        asyncio.gather(*(_kept(_allowed(client, plane, app)) for app in (CONTROLLER, INJECTOR))),
    )
    by_app = dict(zip((CONTROLLER, INJECTOR), allowed, strict=True))
    return ControlPlaneState(plane, tuple(pods), events, services, slices, holder, by_app)


async def _holder(client: KubernetesClient, home: str) -> str:
    return lease_of(await client.read(LEASES, CONTROLLER, namespace=home)).spec.holder


async def _allowed(client: KubernetesClient, plane: ControlPlane, app: str) -> Mapping[Permission, bool]:
    pod = next(iter(plane.pods_of(app)), None)
    account = pod.spec.service_account_name if pod else app
    secret = (pod.flag("ca-bundle-secret-name") if pod else "") or "osm-ca-bundle"
    settings = (pod.flag("osm-config-name") if pod else "") or "osm-mesh-config"
    permissions = needed(app, mesh=plane.mesh, secret=secret, settings=settings)
    answers = await asyncio.gather(
        *(
            client.create(ACCOUNT_REVIEWS, review(each, namespace=plane.namespace, account=account))
            for each in permissions
        )
    )
    return dict(zip(permissions, map(allowed_by, answers), strict=True))


async def _pod(client: KubernetesClient, pod: Pod, *, bundle_pem: str) -> PodState:
    probes, metrics, version, logs, untrusted = await asyncio.gather(
        probed(client, pod),
        _kept(pod_text(client, pod, "/metrics")),
        pod_version(client, pod),
        _logs(client, pod),
        _distrust(client, pod, bundle_pem=bundle_pem),
    )
    return PodState(pod, probes, metrics, version, logs, untrusted)


async def _distrust(client: KubernetesClient, pod: Pod, *, bundle_pem: str) -> Or[str] | None:
    """Why the API server does not trust the pod's webhook; None where there is nothing to compare."""
    if pod.metadata.labels.get("app") != INJECTOR or not bundle_pem:
        return None
    home = pod.metadata.namespace
    told = pod.flag("webhook-port")
    webhook = PodPort(home, pod.metadata.name, int(told) if told.isdecimal() else WEBHOOK_PORT)
    try:
        name = f"{INJECTOR}.{home}.svc"
        return await _kept(distrust(client, webhook, name=name, roots_pem=bundle_pem, within=ASKED_WITHIN))
    except ValueError:
        return None  # the check of the webhook says so


async def _logs(client: KubernetesClient, pod: Pod) -> Mapping[str, Or[str]]:
    """Of each container but sidecars, and of the one before it, where there was one."""
    restarted = {each.name for each in pod.status.container_statuses if each.restart_count}
    started = {each.name for each in pod.status.container_statuses if not each.state.waiting or each.restart_count}
    asked: Sequence[tuple[str, bool]] = [
        (each.name, previous)
        for each in pod.spec.containers
        if not is_sidecar(each) and each.name in started
        for previous in ((False, True) if each.name in restarted else (False,))
    ]
    logs = await asyncio.gather(*(_kept(read_log(client, pod, name, previous=old)) for name, old in asked))
    names = (f"{name} before its restart" if old else name for name, old in asked)
    return dict(zip(names, logs, strict=True))


async def read_log(client: KubernetesClient, pod: Pod, container: str, *, previous: bool) -> str:
    """The end of a container's log, or of the one before it. Raises KubernetesError."""
    path = f"{PODS.path(namespace=pod.metadata.namespace, name=pod.metadata.name)}/log"
    query = {"container": container, "tailLines": _LOG_LINES, "limitBytes": _LOG_BYTES}
    query |= {"previous": "true"} if previous else {}
    content = await client.bounded(ASKED_WITHIN).ask("GET", path, query=query, accept="*/*")
    return content.decode(errors="replace")
