"""The CA bundle of a webhook configuration, kept right in a real API server."""

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from osm_probes.cluster.webhook_ca_bundle import WEBHOOK, CaBundleReconciler
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.connect import connect
from osm_probes.pki.authority import Authority
from osm_probes.pki.trust import CaBundle, Trust
from tests.kubernetes.apiserver import ApiServer, ApiServerError
from tests.kubernetes.waiting import eventually

pytestmark = pytest.mark.kubernetes
NAME = "kept"
TRUST = Trust.of(Authority.create("osm-ca"))
RIGHT = TRUST.roots_pem
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"


def webhook(name: str, *, bundle: bytes) -> dict[str, Any]:
    """One that nothing matches: nobody but its keeper has to do with it."""
    return {
        "name": name,
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {"url": "https://127.0.0.1:1", "caBundle": base64.b64encode(bundle).decode()},
    }


def configuration(*webhooks: dict[str, Any]) -> dict[str, Any]:
    """The configuration, with our webhook alone unless told otherwise."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": NAME},
        "webhooks": [*webhooks] or [webhook(WEBHOOK, bundle=b"")],
    }


@pytest.fixture(autouse=True)
def _left_as_it_was(api_server: ApiServer) -> Iterator[None]:
    yield
    for path in (f"{WEBHOOKS}/{NAME}", f"{ROLES}/{NAME}", f"{ROLES.replace('roles', 'rolebindings')}/{NAME}"):
        with contextlib.suppress(ApiServerError):
            api_server.request("DELETE", path)


async def bundles(server: ApiServer) -> dict[str, bytes]:
    """The bundles as they are stored, by webhook."""
    found = await asyncio.to_thread(server.request, "GET", f"{WEBHOOKS}/{NAME}")
    parts = ((each["name"], each["clientConfig"].get("caBundle", "")) for each in found["webhooks"])
    return {name: base64.b64decode(text) for name, text in parts}


async def overwrite(server: ApiServer, bundle: bytes) -> None:
    """Somebody else writes."""
    value = base64.b64encode(bundle).decode()
    change = [{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": value}]
    form = "application/json-patch+json"
    await asyncio.to_thread(server.request, "PATCH", f"{WEBHOOKS}/{NAME}", change, form=form)


def allow(server: ApiServer, user: str, *verbs: str) -> None:
    """Let a user do this with the configuration, and nothing else."""
    group = "rbac.authorization.k8s.io"
    rule = {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["mutatingwebhookconfigurations"]}
    role = {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": NAME}}
    server.create(role | {"rules": [rule | {"resourceNames": [NAME], "verbs": list(verbs)}]})
    subject = {"kind": "User", "apiGroup": group, "name": user}
    reference = {"kind": "ClusterRole", "apiGroup": group, "name": NAME}
    binding = {"apiVersion": f"{group}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": NAME}}
    server.create(binding | {"roleRef": reference, "subjects": [subject]})


@asynccontextmanager
async def keeping(
    server: ApiServer, *, user: str = "", trust: Latest[Trust] | None = None
) -> AsyncGenerator[CaBundleReconciler, None]:
    """A keeper of the bundle RIGHT, or of what `trust` says, at work as this user."""
    kubeconfig = server.kubeconfig_for(user) if user else server.kubeconfig
    async with connect(str(kubeconfig)) as client:
        keeper = CaBundleReconciler(client, name=NAME, trust=trust or Latest(TRUST))
        async with background_tasks(keep=keeper.run()):
            yield keeper


async def seen(latest: Latest[CaBundle], true: Callable[[CaBundle], object], *, within: float = 10) -> float:
    """Wait for it; after how long it was seen."""
    started = time.monotonic()
    async with asyncio.timeout(within):
        async for bundle in latest.values():
            if true(bundle):
                break
    return time.monotonic() - started


async def test_nothing_is_claimed_before_the_configuration_was_read(api_server: ApiServer) -> None:
    async with connect(str(api_server.kubeconfig)) as client:
        bundle = CaBundleReconciler(client, name=NAME, trust=Latest(TRUST)).bundle.value
    assert bundle == CaBundle(missing=f"MutatingWebhookConfiguration {NAME} has not been read yet")


async def test_only_our_entry_is_written_wherever_it_stands(api_server: ApiServer) -> None:
    api_server.create(configuration(webhook("other.k8s.io", bundle=b""), webhook(WEBHOOK, bundle=b"")))
    async with keeping(api_server) as keeper:
        await seen(keeper.bundle, lambda bundle: bundle.pem == RIGHT)
        assert await bundles(api_server) == {"other.k8s.io": b"", WEBHOOK: RIGHT}


async def test_it_follows_the_trust(api_server: ApiServer) -> None:
    api_server.create(configuration())
    trust = Latest(TRUST)
    async with keeping(api_server, trust=trust) as keeper:
        await seen(keeper.bundle, lambda bundle: bundle.pem == RIGHT)
        trust.set(Trust.of(TRUST.signer, [Authority.create("osm-ca").root_pem]))
        await seen(keeper.bundle, lambda bundle: bundle.pem == trust.value.roots_pem, within=2)


async def test_a_configuration_without_our_webhook_is_left_alone_and_told(api_server: ApiServer) -> None:
    api_server.create(configuration(webhook("other.k8s.io", bundle=b"")))
    async with keeping(api_server) as keeper:
        await seen(keeper.bundle, lambda bundle: f"has no webhook {WEBHOOK}" in bundle.missing)
        assert await bundles(api_server) == {"other.k8s.io": b""}


async def test_who_overwrites_it_again_and_again_does_not_wear_the_api_server_out(api_server: ApiServer) -> None:
    created = await asyncio.to_thread(api_server.create, configuration())
    written = 0
    async with keeping(api_server) as keeper:
        end = time.monotonic() + 2
        while time.monotonic() < end:
            await seen(keeper.bundle, lambda bundle: bundle.pem == RIGHT)
            await overwrite(api_server, b"wrong")
            written += 1
            await seen(keeper.bundle, lambda bundle: bundle.pem == b"wrong")
        await seen(keeper.bundle, lambda bundle: bundle.pem == RIGHT, within=2)
    found = await asyncio.to_thread(api_server.request, "GET", f"{WEBHOOKS}/{NAME}")
    assert found["metadata"]["uid"] == created["metadata"]["uid"]
    assert written < 20


async def permit(server: ApiServer, verb: str) -> None:
    """Let the user of `allow` do this as well."""
    rule = [{"op": "add", "path": "/rules/0/verbs/-", "value": verb}]
    form = "application/json-patch+json"
    await asyncio.to_thread(server.request, "PATCH", f"{ROLES}/{NAME}", rule, form=form)


async def test_what_may_not_be_repaired_is_told_once_and_still_seen(api_server: ApiServer) -> None:
    api_server.create(configuration())
    allow(api_server, "looker", "list", "watch")
    with capture_logs() as lines:
        async with keeping(api_server, user="looker") as keeper:
            await seen(keeper.bundle, lambda bundle: not bundle.missing)
            # Long enough for pauses between attempts that would delay what is seen.
            await asyncio.sleep(4)
            await asyncio.to_thread(api_server.request, "DELETE", f"{WEBHOOKS}/{NAME}")
            assert await seen(keeper.bundle, lambda bundle: "there is no" in bundle.missing) < 0.5
    (error,) = (line["error"] for line in lines if line["log_level"] == "error")
    assert "its user must be allowed to patch mutatingwebhookconfigurations" in error


async def test_once_it_may_be_repaired_it_is_within_2_s(api_server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = 0
    patch = KubernetesClient.patch

    async def counted(self: KubernetesClient, *given: Any, **named: Any) -> bytes:
        nonlocal attempts
        attempts += 1
        return await patch(self, *given, **named)

    monkeypatch.setattr(KubernetesClient, "patch", counted)
    api_server.create(configuration())
    allow(api_server, "helper", "list", "watch")
    async with keeping(api_server, user="helper") as keeper:
        await seen(keeper.bundle, lambda bundle: not bundle.missing)
        # Pauses of 1.5 s at most make 9 attempts at least; those that double up to 8 s make 7 at most.
        await asyncio.sleep(9.5)
        assert attempts >= 8
        await permit(api_server, "patch")
        assert await seen(keeper.bundle, lambda bundle: bundle.pem == RIGHT, within=15) < 2


async def test_who_is_behind_writes_into_no_others_entry(api_server: ApiServer) -> None:
    api_server.create(configuration())
    allow(api_server, "blind", "list")  # without a watch it does not see what comes after the list
    with capture_logs() as lines:
        async with keeping(api_server, user="blind") as keeper:
            await seen(keeper.bundle, lambda bundle: not bundle.missing)
            other = [{"op": "add", "path": "/webhooks/0", "value": webhook("other.k8s.io", bundle=b"")}]
            form = "application/json-patch+json"
            await asyncio.to_thread(api_server.request, "PATCH", f"{WEBHOOKS}/{NAME}", other, form=form)
            await permit(api_server, "patch")

            async def refused() -> bool:
                return any("(422)" in line.get("error", "") for line in lines)

            await eventually(refused, within=5)
            assert await bundles(api_server) == {"other.k8s.io": b"", WEBHOOK: b""}
