"""A cluster -> the state that the checks examine, read concurrently. What cannot be read is replaced by its error."""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from osm_probes.admission.annotations import parse_enabled
from osm_probes.admission.pod import InjectionError
from osm_probes.cli.api_client import POD_TIMEOUT, get_pod_text, get_pod_version
from osm_probes.cli.control_planes import ControlPlane, list_control_planes
from osm_probes.cli.objects import Namespace, Pod
from osm_probes.cli.pod_probes import PodProbes, query_probes
from osm_probes.cli.proxy import get_connected_proxies
from osm_probes.cli.verify.crds import serves_kind
from osm_probes.cli.verify.events import Event
from osm_probes.cli.verify.permissions import Permission, required_permissions, subject_access_review
from osm_probes.cli.verify.services import EndpointSlice, Service
from osm_probes.cli.verify.sidecar import is_sidecar
from osm_probes.cli.verify.webhook import WebhookConfiguration, ca_bundle_pem
from osm_probes.kube.access_review import review_allows
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
from osm_probes.kube.lease import decode_lease
from osm_probes.kube.list_options import ListOptions
from osm_probes.kube.paging import list_objects
from osm_probes.kube.port_forward import PodPort, verification_error
from osm_probes.mesh.labels import APP, IGNORE, INJECTION, MONITORED_BY, PROXY_UUID
from osm_probes.mesh.names import CONTROLLER, DEFAULT_CA_BUNDLE, DEFAULT_MESH_CONFIG, INJECTOR
from osm_probes.mesh.ports import METRICS_PATH, WEBHOOK_PORT
from osm_probes.mesh.proxy_status import ConnectedProxies

T = TypeVar("T")
OrError: TypeAlias = T | KubernetesError

_CRD_KINDS: Final = (MESH_CONFIGS, TRAFFIC_TARGETS, HTTP_ROUTE_GROUPS, TCP_ROUTES, TRAFFIC_SPLITS)
_APPS: Final = (CONTROLLER, INJECTOR)
_MAX_LOG_LINES: Final = "2000"
_MAX_LOG_BYTES: Final = str(1 << 20)


@dataclass(frozen=True, slots=True)
class PodState:
    """A pod of a control plane.

    logs: by the container's name; of the previous container, by that name and "before its restart".
    certificate_error: why the webhook's CA bundle does not verify the pod's certificate; empty if it does; None for
    pods without a webhook, and if there is no CA bundle. proxies: the connected ones; None if it is no controller.
    """

    pod: Pod
    probes: PodProbes
    metrics: OrError[str]
    version: str
    logs: Mapping[str, OrError[str]]
    certificate_error: OrError[str] | None = None
    proxies: OrError[ConnectedProxies] | None = None


@dataclass(frozen=True, slots=True)
class ControlPlaneState:
    """A control plane and the objects in its namespace. permissions: by app, whether each required one is granted."""

    control_plane: ControlPlane
    pods: tuple[PodState, ...]
    events: OrError[list[Event]]
    services: OrError[list[Service]]
    endpoint_slices: OrError[list[EndpointSlice]]
    lease_holder: OrError[str]
    permissions: Mapping[str, OrError[Mapping[Permission, bool]]]


@dataclass(frozen=True, slots=True)
class ClusterState:
    """The control planes of a cluster and its cluster-wide objects.

    injecting_meshes: by namespace, the mesh that injects sidecars into it. sidecar_pods: of all namespaces.
    discovery_errors: by kind of the chart's CRDs, why the API server does not serve it; None if it does.
    """

    control_planes: tuple[ControlPlaneState, ...]
    injecting_meshes: OrError[Mapping[str, str]]
    webhooks: OrError[list[WebhookConfiguration]]
    sidecar_pods: OrError[list[Pod]]
    discovery_errors: Mapping[Kind, KubernetesError | None]


async def collect_state(client: KubernetesClient, *, namespace: str = "") -> ClusterState:
    """The state of the control planes in a namespace, or in all (""). Raises KubernetesError if none can be listed."""
    webhooks = await _or_error(list_objects(client, ListOptions(WEBHOOKS), type=WebhookConfiguration))
    control_planes, injecting_meshes, sidecar_pods, discovery_errors = await asyncio.gather(
        _collect_control_planes(client, namespace, webhooks),
        _or_error(_injecting_meshes(client)),
        _or_error(list_objects(client, ListOptions(PODS, labels=PROXY_UUID), type=Pod)),
        _discovery_errors(client),
    )
    return ClusterState(control_planes, injecting_meshes, webhooks, sidecar_pods, discovery_errors)


async def _or_error(request: Awaitable[T]) -> OrError[T]:
    try:
        return await request
    except KubernetesError as error:
        return error


async def _injecting_meshes(client: KubernetesClient) -> Mapping[str, str]:
    namespaces = await list_objects(client, ListOptions(NAMESPACES, labels=f"{MONITORED_BY},!{IGNORE}"), type=Namespace)
    return {
        namespace.metadata.name: namespace.metadata.labels[MONITORED_BY]
        for namespace in namespaces
        if _is_injected(namespace)
    }


def _is_injected(namespace: Namespace) -> bool:
    try:
        return parse_enabled(namespace.metadata.annotations, INJECTION, of="the namespace") is True
    except InjectionError:
        return False


async def _discovery_errors(client: KubernetesClient) -> Mapping[Kind, KubernetesError | None]:
    errors = await asyncio.gather(*(_discovery_error(client, kind) for kind in _CRD_KINDS))
    return dict(zip(_CRD_KINDS, errors, strict=True))


async def _discovery_error(client: KubernetesClient, kind: Kind) -> KubernetesError | None:
    """Why the API server serves no version of the kind. Every user may read the discovery documents."""
    first_error: KubernetesError | None = None
    for version in kind.versions:
        document = await _or_error(client.request("GET", f"/apis/{version.api_version}"))
        if not isinstance(document, KubernetesError) and serves_kind(document, version):
            return None
        error = document if isinstance(document, KubernetesError) else NotFoundError(f"{kind} is not served")
        first_error = first_error or error
    return first_error


async def _collect_control_planes(
    client: KubernetesClient, namespace: str, webhooks: OrError[list[WebhookConfiguration]]
) -> tuple[ControlPlaneState, ...]:
    control_planes = await list_control_planes(client, namespace=namespace)
    states = (
        _collect_control_plane(client, control_plane, bundle_pem=ca_bundle_pem(webhooks, control_plane.mesh))
        for control_plane in control_planes
    )
    return tuple(await asyncio.gather(*states))


async def _collect_control_plane(
    client: KubernetesClient, control_plane: ControlPlane, *, bundle_pem: str
) -> ControlPlaneState:
    namespace = control_plane.namespace
    active_pods = [pod for pod in control_plane.pods if not pod.inactive_reason]
    pods, events, services, endpoint_slices, lease_holder, permissions = await asyncio.gather(
        asyncio.gather(*(_collect_pod(client, pod, bundle_pem=bundle_pem) for pod in active_pods)),
        _or_error(list_objects(client, ListOptions(EVENTS, namespace=namespace), type=Event)),
        _or_error(list_objects(client, ListOptions(SERVICES, namespace=namespace), type=Service)),
        _or_error(list_objects(client, ListOptions(ENDPOINT_SLICES, namespace=namespace), type=EndpointSlice)),
        _or_error(_lease_holder(client, namespace)),
        asyncio.gather(*(_or_error(_review_permissions(client, control_plane, app)) for app in _APPS)),
    )
    permissions_by_app = dict(zip(_APPS, permissions, strict=True))
    return ControlPlaneState(
        control_plane, tuple(pods), events, services, endpoint_slices, lease_holder, permissions_by_app
    )


async def _lease_holder(client: KubernetesClient, namespace: str) -> str:
    return decode_lease(await client.read(LEASES, CONTROLLER, namespace=namespace)).spec.holder


async def _review_permissions(
    client: KubernetesClient, control_plane: ControlPlane, app: str
) -> Mapping[Permission, bool]:
    """Whether the app's service account has each required permission. Raises KubernetesError."""
    pod = next(iter(control_plane.pods_of(app)), None)
    account = pod.spec.service_account_name if pod else app
    ca_secret = (pod.flag_value("ca-bundle-secret-name") if pod else "") or DEFAULT_CA_BUNDLE
    mesh_config = (pod.flag_value("osm-config-name") if pod else "") or DEFAULT_MESH_CONFIG
    permissions = required_permissions(app, mesh=control_plane.mesh, ca_secret=ca_secret, mesh_config=mesh_config)
    reviews = (
        subject_access_review(permission, namespace=control_plane.namespace, account=account)
        for permission in permissions
    )
    responses = await asyncio.gather(*(client.create(ACCOUNT_REVIEWS, review) for review in reviews))
    return dict(zip(permissions, map(review_allows, responses), strict=True))


async def _collect_pod(client: KubernetesClient, pod: Pod, *, bundle_pem: str) -> PodState:
    probes, metrics, version, logs, certificate_error, proxies = await asyncio.gather(
        query_probes(client, pod),
        _or_error(get_pod_text(client, pod, METRICS_PATH)),
        get_pod_version(client, pod),
        _read_logs(client, pod),
        _certificate_error(client, pod, bundle_pem=bundle_pem),
        _connected_proxies(client, pod),
    )
    return PodState(pod, probes, metrics, version, logs, certificate_error, proxies)


async def _connected_proxies(client: KubernetesClient, pod: Pod) -> OrError[ConnectedProxies] | None:
    """See PodState.proxies."""
    is_controller = pod.metadata.labels.get(APP) == CONTROLLER
    return await _or_error(get_connected_proxies(client, pod)) if is_controller else None


async def _certificate_error(client: KubernetesClient, pod: Pod, *, bundle_pem: str) -> OrError[str] | None:
    """See PodState.certificate_error."""
    if pod.metadata.labels.get(APP) != INJECTOR or not bundle_pem:
        return None
    namespace = pod.metadata.namespace
    webhook = PodPort(namespace, pod.metadata.name, pod.flag_port("webhook-port") or WEBHOOK_PORT)
    server_name = f"{INJECTOR}.{namespace}.svc"
    try:
        return await _or_error(
            verification_error(client, webhook, name=server_name, roots_pem=bundle_pem, within=POD_TIMEOUT)
        )
    except ValueError:
        return None  # check_webhook reports a CA bundle that cannot be read


async def _read_logs(client: KubernetesClient, pod: Pod) -> Mapping[str, OrError[str]]:
    """The logs of all containers that have started, without sidecars; see PodState.logs."""
    statuses = pod.status.container_statuses
    restarted = {status.name for status in statuses if status.restart_count}
    started = {status.name for status in statuses if not status.state.waiting} | restarted
    wanted = [
        (container.name, previous)
        for container in pod.spec.containers
        if not is_sidecar(container) and container.name in started
        for previous in ((False, True) if container.name in restarted else (False,))
    ]
    logs = await asyncio.gather(
        *(_or_error(_read_log(client, pod, name, previous=previous)) for name, previous in wanted)
    )
    names = (f"{name} before its restart" if previous else name for name, previous in wanted)
    return dict(zip(names, logs, strict=True))


async def _read_log(client: KubernetesClient, pod: Pod, container: str, *, previous: bool) -> str:
    """The end of a container's log, or of its previous instance's log. Raises KubernetesError."""
    path = f"{PODS.path(namespace=pod.metadata.namespace, name=pod.metadata.name)}/log"
    query = {"container": container, "tailLines": _MAX_LOG_LINES, "limitBytes": _MAX_LOG_BYTES}
    query |= {"previous": "true"} if previous else {}
    content = await client.with_timeout(POD_TIMEOUT).request("GET", path, query=query, accept="*/*")
    return content.decode(errors="replace")
