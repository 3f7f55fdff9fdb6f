"""The MutatingWebhookConfiguration: its CA bundle, kept right whoever wrote it, seen as the API server does."""

import asyncio
import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from osm_probes.foundation.backoff import Backoff
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.client import JSON_PATCH, KubernetesClient
from osm_probes.kube.errors import KubernetesError
from osm_probes.kube.informer import Informer
from osm_probes.kube.kind import WEBHOOKS
from osm_probes.kube.list_options import ListOptions
from osm_probes.kube.wire import Meta
from osm_probes.pki.trust import CaBundle, Trust

WEBHOOK: Final = "osm-inject.k8s.io"

# Whatever kept a repair from succeeding: 2 s after it has gone, the bundle is right.
_RETRY_MOST: Final = 1.5
_BETWEEN_REPAIRS: Final = 0.2


class MalformedConfigurationError(OsmError):
    """The webhook configuration cannot be read."""


class _ClientConfig(msgspec.Struct, rename="camel"):
    ca_bundle: str = ""


class _Webhook(msgspec.Struct, rename="camel"):
    name: str
    client_config: _ClientConfig = msgspec.field(default_factory=_ClientConfig)


class _Configuration(msgspec.Struct):
    metadata: Meta
    webhooks: list[_Webhook] = []


@dataclass(frozen=True, slots=True)
class Entry:
    """Our webhook in its configuration: at which place, and with which bundle. index None: it is not there.

    version is the configuration's: a bundle that is overwritten twice alike is news twice.
    """

    version: str
    index: int | None = None
    bundle: str = ""


class CaBundleReconciler:
    """Keeps the bundle of the webhook `osm-inject.k8s.io` in the configuration `name` what it must be.

    What it must be are the roots of the newest `trust`. `bundle` is the one that was seen last: while the API server is
    away, nothing changes. Whatever becomes of a repair, it is seen at once.
    """

    def __init__(self, client: KubernetesClient, *, name: str, trust: Latest[Trust]) -> None:
        self.bundle: Latest[CaBundle] = Latest(CaBundle(missing=f"{WEBHOOKS.name} {name} has not been read yet"))
        self._client = client
        self._name = name
        self._trust = trust
        self._entry: Latest[Entry | None] = Latest(None)
        self._news: Latest[int] = Latest(0)
        self._backoff = Backoff(most=_RETRY_MOST)
        self._said = ""
        wanted = ListOptions(WEBHOOKS, fields=f"metadata.name={name}")
        self._informer: Informer[Entry] = Informer(client, wanted, decode=entry_of, notify=self._see)

    async def run(self) -> None:
        """Keep it right, without an end."""
        async with background_tasks(
            watch=self._informer.run(), entry=self._tell(self._entry), trust=self._tell(self._trust)
        ):
            async for _ in self._news.values():
                while (index := self._wrong_at()) is not None:
                    if await self._repaired(index):
                        # Who overwrites it as soon as it is right must not make this a race.
                        await asyncio.sleep(_BETWEEN_REPAIRS)
                        break
                    await asyncio.sleep(self._backoff.pause())

    async def _tell(self, latest: Latest[Any]) -> None:
        async for _ in latest.values():
            self._news.set(self._news.value + 1)

    @property
    def _right(self) -> str:
        return base64.b64encode(self._trust.value.roots_pem).decode()

    def _see(self) -> None:
        if self._informer.synced:
            entry = self._informer.objects.get(("", self._name))
            self.bundle.set(self._seen(entry))
            self._entry.set(entry)

    def _wrong_at(self) -> int | None:
        """The place of our webhook, if its bundle is wrong."""
        entry = self._entry.value
        return entry.index if entry is not None and entry.bundle != self._right else None

    def _seen(self, entry: Entry | None) -> CaBundle:
        if entry is None:
            return CaBundle(missing=f"there is no {WEBHOOKS.name} {self._name}: install the chart, which brings it")
        if entry.index is None:
            return CaBundle(missing=f"{WEBHOOKS.name} {self._name} has no webhook {WEBHOOK}: install the chart again")
        try:
            return CaBundle(base64.b64decode(entry.bundle, validate=True))
        except binascii.Error:
            return CaBundle(missing=f"the CA bundle in {WEBHOOKS.name} {self._name} cannot be read")

    async def _repaired(self, index: int) -> bool:
        place = f"/webhooks/{index}"
        # Were another webhook there by now, the test would fail and nothing be written.
        patch = [
            {"op": "test", "path": f"{place}/name", "value": WEBHOOK},
            {"op": "add", "path": f"{place}/clientConfig/caBundle", "value": self._right},
        ]
        try:
            await self._client.patch(WEBHOOKS, self._name, patch, form=JSON_PATCH)
        except KubernetesError as error:
            self._say(error)
            return False
        logger("bundle").info("the webhook's CA bundle is put right", configuration=self._name)
        self._said = ""
        self._backoff.reset()
        return True

    def _say(self, error: KubernetesError) -> None:
        if self._said != (text := error.needing(f"patch {WEBHOOKS.plural}")):
            logger("bundle").error("the webhook's CA bundle cannot be put right", error=text)
        self._said = text


def entry_of(content: bytes) -> Entry:
    """A configuration's JSON -> our webhook in it. Raises MalformedConfigurationError."""
    try:
        found = msgspec.json.decode(content, type=_Configuration)
    except msgspec.DecodeError as error:
        raise MalformedConfigurationError(str(error)) from error
    version = found.metadata.resource_version
    for index, each in enumerate(found.webhooks):
        if each.name == WEBHOOK:
            return Entry(version, index, each.client_config.ca_bundle)
    return Entry(version)
