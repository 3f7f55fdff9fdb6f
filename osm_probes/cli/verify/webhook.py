"""Checks `Webhook …` and `Webhook certificate`: the API server can call the injector and trusts its certificate."""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from osm_probes.cli.control_planes import ControlPlane
from osm_probes.cli.objects import Metadata
from osm_probes.cli.verify.result import REINSTALL, Result, failure, success, unknown, warning
from osm_probes.cluster.webhook_configuration import WEBHOOK
from osm_probes.foundation.durations import age
from osm_probes.kube.errors import ForbiddenError, KubernetesError
from osm_probes.mesh.names import INJECTOR
from osm_probes.pki.authority import latest_expiry

REPAIR_BUNDLE: Final = "osm-injector repairs the CA bundle itself if it can: check its permissions and its log"


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


def check_webhook(
    control_plane: ControlPlane, configurations: Sequence[WebhookConfiguration] | KubernetesError, *, now: datetime
) -> Result:
    """Check that the mesh's webhook exists, calls this control plane, and has a valid CA bundle."""
    configuration_name = webhook_configuration_name(control_plane.mesh)
    name = f"Webhook {configuration_name}"
    if isinstance(configurations, KubernetesError):
        return unknown(name, configurations.explain("list mutatingwebhookconfigurations"))
    webhook = _find_webhook(configurations, control_plane.mesh)
    if webhook is None:
        exists = configuration_name in {configuration.metadata.name for configuration in configurations}
        problem = f"it has no webhook {WEBHOOK}" if exists else "the MutatingWebhookConfiguration does not exist"
        return failure(name, f"{problem}: new pods get no sidecar", suggestions=[REINSTALL])
    service = webhook.client_config.service
    if service and service.namespace != control_plane.namespace:
        reason = f"its Service is in namespace {service.namespace}, not {control_plane.namespace}"
        return failure(name, reason, suggestions=[REINSTALL])
    return _check_bundle(name, webhook.client_config.ca_bundle, now=now)


def _check_bundle(name: str, bundle: str, *, now: datetime) -> Result:
    if not bundle:
        reason = "it has no CA bundle: the API server does not trust the injector"
        return failure(name, reason, suggestions=[REPAIR_BUNDLE])
    try:
        remaining = (latest_expiry(base64.b64decode(bundle, validate=True)) - now).total_seconds()
    except ValueError as error:
        return failure(name, f"its CA bundle cannot be read: {error}", suggestions=[REPAIR_BUNDLE])
    if remaining <= 0:
        return failure(name, f"its CA bundle expired {age(-remaining)} ago", suggestions=[REPAIR_BUNDLE])
    return success(name)


def check_certificate(verification_error: str | KubernetesError) -> Result:
    """Check that the CA bundle of the webhook verifies the injector's certificate.

    `verification_error`: of a TLS handshake with the injector's pod; empty if its certificate is valid.
    """
    name = "Webhook certificate"
    if isinstance(verification_error, ForbiddenError):
        reason = f"not checked: {verification_error.explain('get and create pods/portforward')}"
        return warning(name, reason)
    if isinstance(verification_error, KubernetesError):
        return unknown(name, str(verification_error))
    if verification_error:
        reason = f"the API server does not trust the injector's certificate: {verification_error}"
        return failure(name, reason, suggestions=[REPAIR_BUNDLE])
    return success(name)


def webhook_configuration_name(mesh: str) -> str:
    """The name of the mesh's MutatingWebhookConfiguration."""
    return f"osm-webhook-{mesh}"


def ca_bundle_pem(configurations: Sequence[WebhookConfiguration] | KubernetesError, mesh: str) -> str:
    """The CA certificates with which the API server verifies the mesh's injector; empty if they cannot be read."""
    webhook = None if isinstance(configurations, KubernetesError) else _find_webhook(configurations, mesh)
    try:
        return base64.b64decode(webhook.client_config.ca_bundle, validate=True).decode() if webhook else ""
    except ValueError:
        return ""


def _find_webhook(configurations: Sequence[WebhookConfiguration], mesh: str) -> _Webhook | None:
    name = webhook_configuration_name(mesh)
    webhooks = (
        webhook
        for configuration in configurations
        if configuration.metadata.name == name
        for webhook in configuration.webhooks
    )
    return next((webhook for webhook in webhooks if webhook.name == WEBHOOK or _calls_injector(webhook)), None)


def _calls_injector(webhook: _Webhook) -> bool:
    """A webhook may be renamed."""
    service = webhook.client_config.service
    return service is not None and service.name == INJECTOR
