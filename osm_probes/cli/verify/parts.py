"""What surrounds the pods of a control plane -> what is missing there: webhook, Services, CRDs, Lease, replicas."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from osm_probes.cli.objects import Deployment, Metadata, Pod
from osm_probes.cli.planes import CONTROLLER, INJECTOR, ControlPlane
from osm_probes.cli.verify.containers import removal
from osm_probes.cli.verify.result import Result, failure, together, unknown, warning
from osm_probes.foundation.durations import age
from osm_probes.kube.errors import AbsentError, ForbiddenError, KubernetesError
from osm_probes.kube.kind import Kind
from osm_probes.pki.authority import ends_at
from osm_probes.program.bundle import WEBHOOK

_INSTALL: Final = "install the chart again: it brings it"
_REPAIR: Final = "osm-injector puts the CA bundle right where it runs and may: see its permissions and its log"
_NO_EFFECT: Final = "objects of this kind have no effect"


class Endpoint(msgspec.Struct, frozen=True):
    """Where a Service goes."""

    class Conditions(msgspec.Struct, frozen=True):
        """Whether it may be used."""

        ready: bool | None = None

    conditions: Conditions = msgspec.field(default_factory=Conditions)


class EndpointSlice(msgspec.Struct, frozen=True):
    """Some of a Service's endpoints."""

    metadata: Metadata
    endpoints: list[Endpoint] | None = None


class Service(msgspec.Struct, frozen=True):
    """A Service."""

    metadata: Metadata


class _ServiceReference(msgspec.Struct, frozen=True):
    namespace: str = ""
    name: str = ""


class _ClientConfig(msgspec.Struct, frozen=True, rename="camel"):
    ca_bundle: str = ""
    service: _ServiceReference | None = None


class _Webhook(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    client_config: _ClientConfig = msgspec.field(default_factory=_ClientConfig)


class WebhookConfiguration(msgspec.Struct, frozen=True):
    """A MutatingWebhookConfiguration."""

    metadata: Metadata
    webhooks: list[_Webhook] = []


class _Resource(msgspec.Struct, frozen=True):
    name: str = ""


class _Resources(msgspec.Struct, frozen=True):
    resources: list[_Resource] = []


def serves(content: bytes, kind: Kind) -> bool:
    """Whether the kinds of a group and version, as the API server tells them, have this one."""
    try:
        return kind.plural in {each.name for each in msgspec.json.decode(content, type=_Resources).resources}
    except msgspec.DecodeError:
        return False


def judge_enrolment(plane: ControlPlane, owners: Mapping[str, str] | KubernetesError) -> Result:
    """Nobody may inject into the control plane's namespace. `owners`: mesh by namespace that it injects."""
    name = "Own namespace is not injected"
    if isinstance(owners, KubernetesError):
        return unknown(name, owners.needing("list namespaces"))
    owner = owners.get(plane.namespace)
    if owner is None:
        return Result(name=name)
    reason = (
        f"namespace {plane.namespace} is enrolled in mesh {owner} with sidecar injection: its next pods get sidecars"
    )
    return failure(name, reason, do=[removal(plane.namespace, owner)])


def judge_replicas(app: str, deployment: Deployment | None, pods: Sequence[Pod], *, why: Sequence[str]) -> Result:
    """Whether the Deployment is there, and its pods are; `why` they cannot be made, if anybody said so."""
    name = f"Deployment {app}"
    if deployment is None:
        return failure(name, "there is none", do=[_INSTALL])
    ready = sum(any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions) for pod in pods)
    wanted = deployment.spec.replicas
    if not wanted:
        return failure(name, "it is scaled to 0", do=[f"kubectl scale deployment {app} --replicas 1"])
    if ready >= wanted:
        return Result(name=name)
    words = f"{ready} of {wanted} pods are ready"
    return warning(name, words, *why) if ready else failure(name, words, *why)


def judge_webhook(
    plane: ControlPlane, found: Sequence[WebhookConfiguration] | KubernetesError, *, now: datetime
) -> Result:
    """The configuration by which the API server asks the injector."""
    name = f"Webhook {webhook_name(plane.mesh)}"
    if isinstance(found, KubernetesError):
        return unknown(name, found.needing("list mutatingwebhookconfigurations"))
    configuration = next((each for each in found if each.metadata.name == webhook_name(plane.mesh)), None)
    webhook = _webhook(found, plane.mesh)
    if webhook is None:
        absent = f"it has no webhook {WEBHOOK}" if configuration else "there is no such MutatingWebhookConfiguration"
        return failure(name, f"{absent}: new pods get no sidecar", do=[_INSTALL])
    service = webhook.client_config.service
    if service and service.namespace != plane.namespace:
        return failure(name, f"it goes to namespace {service.namespace}, not {plane.namespace}", do=[_INSTALL])
    return _judge_bundle(name, webhook.client_config.ca_bundle, now=now)


def webhook_name(mesh: str) -> str:
    """The name of the mesh's MutatingWebhookConfiguration."""
    return f"osm-webhook-{mesh}"


def bundle_of(found: Sequence[WebhookConfiguration] | KubernetesError, mesh: str) -> str:
    """The roots by which the API server trusts the injector, in PEM; "" where they cannot be read."""
    webhook = None if isinstance(found, KubernetesError) else _webhook(found, mesh)
    try:
        return base64.b64decode(webhook.client_config.ca_bundle, validate=True).decode() if webhook else ""
    except ValueError:
        return ""


def _webhook(found: Sequence[WebhookConfiguration], mesh: str) -> _Webhook | None:
    webhooks = (each for one in found if one.metadata.name == webhook_name(mesh) for each in one.webhooks)
    return next((each for each in webhooks if each.name == WEBHOOK), None)


def judge_trust(distrust: str | KubernetesError) -> Result:
    """Whether the injector's certificate is one that the bundle trusts, as somebody outside of the pod sees it."""
    name = "Webhook certificate"
    if isinstance(distrust, ForbiddenError):
        return warning(name, f"not looked at: {distrust.needing('get and create pods/portforward')}")
    if isinstance(distrust, KubernetesError):
        return unknown(name, str(distrust))
    return (
        failure(name, f"the API server does not trust it: {distrust}", do=[_REPAIR]) if distrust else Result(name=name)
    )


def _judge_bundle(name: str, bundle: str, *, now: datetime) -> Result:
    if not bundle:
        return failure(name, "it has no CA bundle: the API server trusts no injector", do=[_REPAIR])
    try:
        left = (ends_at(base64.b64decode(bundle, validate=True)) - now).total_seconds()
    except ValueError as error:
        return failure(name, f"its CA bundle cannot be read: {error}", do=[_REPAIR])
    if left <= 0:
        return failure(name, f"its CA bundle ended {age(-left)} ago", do=[_REPAIR])
    return Result(name=name)


def judge_services(
    services: Sequence[Service] | KubernetesError, slices: Sequence[EndpointSlice] | KubernetesError
) -> Result:
    """Proxies find the ADS, and the API server the injector, by Services."""
    name = "Services"
    if isinstance(services, KubernetesError):
        return unknown(name, services.needing("list services"))
    if isinstance(slices, KubernetesError):
        return unknown(name, slices.needing("list endpointslices"))
    return together(name, [_judge_service(app, services, slices) for app in (CONTROLLER, INJECTOR)])


def _judge_service(app: str, services: Sequence[Service], slices: Sequence[EndpointSlice]) -> Result:
    if app not in {each.metadata.name for each in services}:
        return failure(app, "there is no such Service", do=[_INSTALL])
    own = (each for each in slices if each.metadata.labels.get("kubernetes.io/service-name") == app)
    # Kubernetes says to take an unknown readiness as a yes.
    ready = sum(endpoint.conditions.ready is not False for each in own for endpoint in each.endpoints or ())
    return Result(name=app) if ready else failure(app, "it has no ready endpoint", do=["see the probes of its pods"])


def judge_crds(served: Mapping[Kind, KubernetesError | None]) -> Result:
    """The kinds that the chart brings; a mesh without them runs, but does what nobody wanted."""
    return together("CRDs", list(_judge_kinds(served)))


def _judge_kinds(served: Mapping[Kind, KubernetesError | None]) -> Iterator[Result]:
    for kind, error in served.items():
        if isinstance(error, AbsentError):
            yield warning(
                str(kind), f"{kind.version} is not served: {_NO_EFFECT}", do=["kubectl apply -f charts/osm/crds"]
            )
        elif error:
            yield unknown(str(kind), str(error))
        else:
            yield Result(name=str(kind))


def judge_lease(holder: str | KubernetesError, pods: Sequence[Pod]) -> Result:
    """Which controller looks after what one of them does for all; its work can wait, so nothing here is a failure."""
    name = "Lease holder"
    if isinstance(holder, AbsentError):
        return warning(name, f"there is no Lease {CONTROLLER}: no controller looks after the Secrets of sidecars")
    if isinstance(holder, KubernetesError):
        return unknown(name, holder.needing("get leases"))
    if any(holder.startswith(pod.metadata.name) for pod in pods):
        return Result(name=name)
    return warning(name, f"{holder} holds it, which is no pod of {CONTROLLER}" if holder else "nobody holds it")
