"""The MutatingWebhookConfiguration: its CA bundle, kept right whoever wrote it, seen as the API server does."""

import asyncio
import base64
import binascii
from dataclasses import dataclass
from typing import Final

import msgspec

from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.foundation.tasks import beside
from osm_probes.kube.client import JSON_PATCH, KubernetesClient
from osm_probes.kube.errors import ForbiddenError, KubernetesError
from osm_probes.kube.informer import Informer
from osm_probes.kube.kind import WEBHOOKS
from osm_probes.kube.pace import Pace
from osm_probes.kube.wanted import Wanted
from osm_probes.program.means import Bundle

WEBHOOK: Final = "osm-inject.k8s.io"


class MalformedConfigurationError(OsmError):
    """The webhook configuration cannot be read."""


class _ClientConfig(msgspec.Struct, rename="camel"):
    ca_bundle: str = ""


class _Webhook(msgspec.Struct, rename="camel"):
    name: str
    client_config: _ClientConfig = msgspec.field(default_factory=_ClientConfig)


class _Configuration(msgspec.Struct):
    webhooks: list[_Webhook] = []


@dataclass(frozen=True, slots=True)
class Entry:
    """Our webhook in its configuration: at which place, and with which bundle. index None: it is not there."""

    index: int | None = None
    bundle: str = ""


class BundleKeeper:
    """Keeps the bundle of the webhook `osm-inject.k8s.io` in the configuration `name` what it must be.

    `bundle` is the one that was seen last: while the API server is away, nothing changes.
    """

    def __init__(self, client: KubernetesClient, *, name: str, bundle_pem: bytes) -> None:
        self.bundle: Latest[Bundle] = Latest(Bundle(missing=f"{WEBHOOKS.name} {name} has not been read yet"))
        self._client = client
        self._name = name
        self._right = base64.b64encode(bundle_pem).decode()
        self._changes: Latest[int] = Latest(0)
        self._said = ""

    async def run(self) -> None:
        """Keep it right, without an end."""
        wanted = Wanted(WEBHOOKS, fields=f"metadata.name={self._name}")
        informer: Informer[Entry] = Informer(self._client, wanted, decode=entry_of, notify=self._note)
        pace = Pace()
        async with beside(watch=informer.run()):
            async for _ in self._changes.values():
                if not informer.synced:
                    continue
                entry = informer.objects.get(("", self._name))
                self.bundle.set(self._seen(entry))
                if entry is not None and entry.index is not None and entry.bundle != self._right:
                    await self._repair(entry.index, pace)

    def _note(self) -> None:
        self._changes.set(self._changes.value + 1)

    def _seen(self, entry: Entry | None) -> Bundle:
        if entry is None:
            return Bundle(missing=f"there is no {WEBHOOKS.name} {self._name}: install the chart, which brings it")
        if entry.index is None:
            return Bundle(missing=f"{WEBHOOKS.name} {self._name} has no webhook {WEBHOOK}: install the chart again")
        try:
            return Bundle(base64.b64decode(entry.bundle, validate=True))
        except binascii.Error:
            return Bundle(missing=f"the CA bundle in {WEBHOOKS.name} {self._name} cannot be read")

    async def _repair(self, index: int, pace: Pace) -> None:
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
            await asyncio.sleep(pace.pause())
            self._note()  # and again
        else:
            logger("bundle").info("the webhook's CA bundle is put right", configuration=self._name)
            self._said = ""
            pace.reset()

    def _say(self, error: KubernetesError) -> None:
        hint = f"; its user must be allowed to patch {WEBHOOKS.plural}" if isinstance(error, ForbiddenError) else ""
        if self._said != (text := f"{error}{hint}"):
            logger("bundle").error("the webhook's CA bundle cannot be put right", error=text)
        self._said = text


def entry_of(content: bytes) -> Entry:
    """A configuration's JSON -> our webhook in it. Raises MalformedConfigurationError."""
    try:
        webhooks = msgspec.json.decode(content, type=_Configuration).webhooks
    except msgspec.DecodeError as error:
        raise MalformedConfigurationError(str(error)) from error
    for index, each in enumerate(webhooks):
        if each.name == WEBHOOK:
            return Entry(index, each.client_config.ca_bundle)
    return Entry()
