"""The MutatingWebhookConfiguration, and the certificate of the injector -> whether the API server can ask it."""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from osm_probes.cli.control_planes import ControlPlane
from osm_probes.cli.objects import Metadata
from osm_probes.cli.verify.result import Result, failure, unknown, warning
from osm_probes.cli.verify.surroundings import INSTALL
from osm_probes.cluster.webhook_ca_bundle import WEBHOOK
from osm_probes.foundation.durations import age
from osm_probes.kube.errors import ForbiddenError, KubernetesError
from osm_probes.pki.authority import ends_at

_REPAIR: Final = "osm-injector puts the CA bundle right where it runs and may: see its permissions and its log"


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
        return failure(name, f"{absent}: new pods get no sidecar", do=[INSTALL])
    service = webhook.client_config.service
    if service and service.namespace != plane.namespace:
        return failure(name, f"it goes to namespace {service.namespace}, not {plane.namespace}", do=[INSTALL])
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
