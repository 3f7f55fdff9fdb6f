"""The MutatingWebhookConfiguration as JSON -> the webhooks in it that are ours, with all fields that decide."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import msgspec

from osm_probes.cluster.label_selector import LabelSelector
from osm_probes.foundation.errors import OsmError
from osm_probes.kube.wire import ObjectMeta
from osm_probes.mesh.names import webhook_server_name

WEBHOOK: Final = "osm-inject.k8s.io"
_HTTPS: Final = 443


class MalformedConfigurationError(OsmError):
    """The webhook configuration cannot be decoded."""


class ServiceReference(msgspec.Struct, frozen=True):
    """The Service that the API server calls."""

    namespace: str = ""
    name: str = ""
    path: str = ""
    port: int = _HTTPS


class ClientConfig(msgspec.Struct, frozen=True, rename="camel"):
    """How the API server calls the webhook: a Service or a URL. ca_bundle: PEM in base64."""

    ca_bundle: str = ""
    service: ServiceReference | None = None
    url: str = ""

    @property
    def address(self) -> tuple[str, int, str]:
        """The name that the API server verifies in the certificate, the port, and the path; ("", 0, "") if invalid."""
        if self.service is not None:
            return f"{self.service.name}.{self.service.namespace}.svc", self.service.port, self.service.path
        try:
            url = urlsplit(self.url)
            return url.hostname or "", url.port or _HTTPS, url.path
        except ValueError:
            return "", 0, ""


class Rule(msgspec.Struct, frozen=True, rename="camel"):
    """Requests that the API server has reviewed."""

    operations: tuple[str, ...] = ()
    api_groups: tuple[str, ...] = ()
    api_versions: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    scope: str = "*"


class MatchCondition(msgspec.Struct, frozen=True):
    """An expression (CEL) that decides about each request."""

    expression: str = ""


class Webhook(msgspec.Struct, frozen=True, rename="camel"):
    """One webhook of a configuration. The defaults are those of the API server."""

    name: str
    client_config: ClientConfig = ClientConfig()
    rules: tuple[Rule, ...] = ()
    namespace_selector: LabelSelector = LabelSelector()
    object_selector: LabelSelector = LabelSelector()
    match_conditions: tuple[MatchCondition, ...] = ()
    admission_review_versions: tuple[str, ...] = ()
    failure_policy: str = "Fail"
    timeout_seconds: int = 10


class _Configuration(msgspec.Struct):
    metadata: ObjectMeta
    webhooks: tuple[Webhook, ...] = ()


@dataclass(frozen=True, slots=True)
class WebhookEntry:
    """Our webhooks in their configuration, with the index of each; usually one.

    version: the configuration's resourceVersion. With it, a bundle that is overwritten twice with the same value makes
    two different entries.
    """

    version: str
    webhooks: tuple[tuple[int, Webhook], ...] = ()


def decode_webhook_entry(content: bytes, *, osm_namespace: str) -> WebhookEntry:
    """Our webhooks in a configuration, from its JSON. Raises MalformedConfigurationError.

    Ours are those with the chart's name, and those that call this control plane's injector: a webhook may be renamed.
    """
    try:
        configuration = msgspec.json.decode(content, type=_Configuration)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedConfigurationError(str(error)) from error
    host = webhook_server_name(osm_namespace)
    ours = (
        (index, webhook)
        for index, webhook in enumerate(configuration.webhooks)
        if webhook.name == WEBHOOK or webhook.client_config.address[0] == host
    )
    return WebhookEntry(configuration.metadata.resource_version, tuple(ours))
