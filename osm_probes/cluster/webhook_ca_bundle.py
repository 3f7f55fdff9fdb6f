"""Reconciles `caBundle` of the MutatingWebhookConfiguration, and reports the bundle that the API server uses."""

import asyncio
import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from osm_probes.foundation.backoff import Backoff
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.latest import Changes, Latest
from osm_probes.foundation.logs import logger
from osm_probes.foundation.problem_log import ProblemLog, Repeat
from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.client import JSON_PATCH, KubernetesClient
from osm_probes.kube.errors import KubernetesError
from osm_probes.kube.informer import Informer
from osm_probes.kube.kind import WEBHOOKS
from osm_probes.kube.list_options import ListOptions
from osm_probes.kube.wire import ObjectMeta
from osm_probes.pki.trust import CaBundle, Trust

WEBHOOK: Final = "osm-inject.k8s.io"

# Short enough that the bundle is right within 2 s after the cause of a failed repair is gone.
_MAX_PAUSE: Final = 1.5
_REPAIR_INTERVAL: Final = 0.2


class MalformedConfigurationError(OsmError):
    """The webhook configuration cannot be decoded."""


class _ClientConfig(msgspec.Struct, rename="camel"):
    ca_bundle: str = ""


class _Webhook(msgspec.Struct, rename="camel"):
    name: str
    client_config: _ClientConfig = msgspec.field(default_factory=_ClientConfig)


class _Configuration(msgspec.Struct):
    metadata: ObjectMeta
    webhooks: list[_Webhook] = []


@dataclass(frozen=True, slots=True)
class WebhookEntry:
    """Our webhook in its configuration: its index, None if it is missing, and its bundle in base64.

    version: the configuration's resourceVersion. With it, a bundle that is overwritten twice with the same value makes
    two different entries.
    """

    version: str
    index: int | None = None
    bundle: str = ""


class CaBundleReconciler:
    """Keeps the CA bundle of the webhook `osm-inject.k8s.io` in the configuration `name` equal to the roots of `trust`.

    bundle: the bundle in the configuration when it was last seen, whether it is right or not. It does not change while
    the API server is away.
    """

    def __init__(self, client: KubernetesClient, *, name: str, trust: Latest[Trust]) -> None:
        self.bundle: Latest[CaBundle] = Latest(CaBundle(missing=f"{WEBHOOKS.name} {name} has not been read yet"))
        self._client = client
        self._name = name
        self._trust = trust
        self._entry: Latest[WebhookEntry | None] = Latest(None)
        self._changes = Changes()
        self._backoff = Backoff(most=_MAX_PAUSE)
        self._problem = ProblemLog(
            "bundle",
            began="the webhook's CA bundle cannot be repaired",
            ended="the webhook's CA bundle can be repaired again",
            level="error",
            repeat=Repeat.WHEN_CHANGED,
        )
        options = ListOptions(WEBHOOKS, fields=f"metadata.name={name}")
        self._informer: Informer[WebhookEntry] = Informer(
            client, options, decode=decode_webhook_entry, notify=self._update
        )

    async def run(self) -> None:
        """Repair the bundle whenever it is wrong, until cancelled."""
        async with background_tasks(
            watch=self._informer.run(), entry=self._notify(self._entry), trust=self._notify(self._trust)
        ):
            async for _ in self._changes.values():
                while (index := self._index_to_repair()) is not None:
                    if await self._repair(index):
                        # Limits the writes if another program overwrites the bundle after each repair.
                        await asyncio.sleep(_REPAIR_INTERVAL)
                        break
                    await asyncio.sleep(self._backoff.pause())

    async def _notify(self, latest: Latest[Any]) -> None:
        async for _ in latest.values():
            self._changes.notify()

    @property
    def _expected(self) -> str:
        return base64.b64encode(self._trust.value.roots_pem).decode()

    def _update(self) -> None:
        if self._informer.synced:
            entry = self._informer.objects.get(("", self._name))
            self.bundle.set(self._bundle_of(entry))
            self._entry.set(entry)

    def _index_to_repair(self) -> int | None:
        """The index of our webhook if its bundle is wrong."""
        entry = self._entry.value
        return entry.index if entry is not None and entry.bundle != self._expected else None

    def _bundle_of(self, entry: WebhookEntry | None) -> CaBundle:
        if entry is None:
            return CaBundle(missing=f"there is no {WEBHOOKS.name} {self._name}: install the chart, which brings it")
        if entry.index is None:
            return CaBundle(missing=f"{WEBHOOKS.name} {self._name} has no webhook {WEBHOOK}: install the chart again")
        try:
            return CaBundle(base64.b64decode(entry.bundle, validate=True))
        except binascii.Error:
            return CaBundle(missing=f"the CA bundle in {WEBHOOKS.name} {self._name} cannot be read")

    async def _repair(self, index: int) -> bool:
        """Write the expected bundle; whether that succeeded."""
        webhook = f"/webhooks/{index}"
        # If another webhook is at this index by now, the test fails and nothing is written.
        patch = [
            {"op": "test", "path": f"{webhook}/name", "value": WEBHOOK},
            {"op": "add", "path": f"{webhook}/clientConfig/caBundle", "value": self._expected},
        ]
        try:
            await self._client.patch(WEBHOOKS, self._name, patch, content_type=JSON_PATCH)
        except KubernetesError as error:
            self._problem.update(error.explain(f"patch {WEBHOOKS.plural}"))
            return False
        self._problem.update("")
        logger("bundle").info("the webhook's CA bundle is repaired", configuration=self._name)
        self._backoff.reset()
        return True


def decode_webhook_entry(content: bytes) -> WebhookEntry:
    """Our webhook in a configuration, from its JSON. Raises MalformedConfigurationError."""
    try:
        configuration = msgspec.json.decode(content, type=_Configuration)
    except msgspec.DecodeError as error:
        raise MalformedConfigurationError(str(error)) from error
    version = configuration.metadata.resource_version
    for index, webhook in enumerate(configuration.webhooks):
        if webhook.name == WEBHOOK:
            return WebhookEntry(version, index, webhook.client_config.ca_bundle)
    return WebhookEntry(version)
