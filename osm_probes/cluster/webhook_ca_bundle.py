"""Reconciles `caBundle` of the MutatingWebhookConfiguration, and reports the bundle that the API server uses."""

import asyncio
import base64
import binascii
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from osm_probes.cluster.webhook_configuration import WEBHOOK, Webhook, WebhookEntry, decode_webhook_entry
from osm_probes.foundation.backoff import Backoff
from osm_probes.foundation.latest import Changes, Latest
from osm_probes.foundation.logs import logger
from osm_probes.foundation.problem import Problem
from osm_probes.foundation.problem_log import ProblemLog, Repeat
from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.client import JSON_PATCH, KubernetesClient
from osm_probes.kube.errors import KubernetesError
from osm_probes.kube.informer import Informer
from osm_probes.kube.kind import WEBHOOKS
from osm_probes.kube.list_options import ListOptions
from osm_probes.pki.trust import CaBundle, Trust

# Short enough that the bundle is right within 2 s after the cause of a failed repair is gone.
_MAX_PAUSE: Final = 1.5
_REPAIR_INTERVAL: Final = 0.2


class CaBundleReconciler:
    """Keeps the CA bundle of our webhooks in the configuration `name` equal to the roots of `trust`.

    bundle: the bundle in the configuration when it was last seen, whether it is right or not. entry: our webhooks then;
    None if there is no configuration. Both do not change while the API server is away. read_problem: why the
    configuration cannot be read now.
    """

    def __init__(self, client: KubernetesClient, *, name: str, osm_namespace: str, trust: Latest[Trust]) -> None:
        self.bundle: Latest[CaBundle] = Latest(CaBundle(missing=f"{WEBHOOKS.name} {name} has not been read yet"))
        self._client = client
        self._name = name
        self._trust = trust
        self.entry: Latest[WebhookEntry | None] = Latest(None)
        self.read_problem: Latest[Problem] = Latest(Problem())
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
        decode = partial(decode_webhook_entry, osm_namespace=osm_namespace)
        self._informer: Informer[WebhookEntry] = Informer(client, options, decode=decode, notify=self._update)

    async def run(self) -> None:
        """Repair the bundle whenever it is wrong, until cancelled."""
        async with background_tasks(
            watch=self._informer.run(), entry=self._notify(self.entry), trust=self._notify(self._trust)
        ):
            async for _ in self._changes.values():
                while wrong := self._webhooks_to_repair():
                    if await self._repair(wrong):
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
        self.read_problem.set(self._informer.problem or self._malformed())
        if self._informer.synced:
            entry = self._informer.objects.get(("", self._name))
            self.bundle.set(self._bundle_of(entry))
            self.entry.set(entry)

    def _malformed(self) -> Problem:
        errors = list(self._informer.errors.values())
        return Problem("the webhook configuration cannot be decoded", errors[0]) if errors else Problem()

    def _webhooks_to_repair(self) -> list[tuple[int, Webhook]]:
        """Our webhooks whose bundle is wrong, with their indexes."""
        entry, expected = self.entry.value, self._expected
        webhooks = entry.webhooks if entry is not None else ()
        return [(index, webhook) for index, webhook in webhooks if webhook.client_config.ca_bundle != expected]

    def _bundle_of(self, entry: WebhookEntry | None) -> CaBundle:
        if entry is None:
            return CaBundle(missing=f"there is no {WEBHOOKS.name} {self._name}: install the chart, which brings it")
        if not entry.webhooks:
            return CaBundle(missing=f"{WEBHOOKS.name} {self._name} has no webhook {WEBHOOK}: install the chart again")
        bundles = [webhook.client_config.ca_bundle for _, webhook in entry.webhooks]
        bundle = next((bundle for bundle in bundles if bundle != self._expected), bundles[0])
        try:
            return CaBundle(base64.b64decode(bundle, validate=True))
        except binascii.Error:
            return CaBundle(missing=f"the CA bundle in {WEBHOOKS.name} {self._name} cannot be read")

    async def _repair(self, wrong: Sequence[tuple[int, Webhook]]) -> bool:
        """Write the expected bundle into these webhooks; whether that succeeded."""
        patch = []
        for index, webhook in wrong:
            # If another webhook is at this index by now, the test fails and nothing is written.
            patch += [
                {"op": "test", "path": f"/webhooks/{index}/name", "value": webhook.name},
                {"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": self._expected},
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
