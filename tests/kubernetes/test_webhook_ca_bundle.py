"""The CA bundle of a webhook configuration is repaired in a real API server."""

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from osm_probes.cluster.webhook_ca_bundle import CaBundleReconciler
from osm_probes.cluster.webhook_configuration import WEBHOOK
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.connect import connect
from osm_probes.pki.authority import Authority
from osm_probes.pki.trust import CaBundle, Trust
from tests.kubernetes.apiserver import ApiServer, ApiServerError
from tests.kubernetes.waiting import eventually
from tests.log_capture import capture_logs

pytestmark = pytest.mark.kubernetes
NAME = "reconciled"
TRUST = Trust.of(Authority.create("osm-ca"))
RIGHT = TRUST.roots_pem
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"


def webhook(name: str, *, bundle: bytes) -> dict[str, Any]:
    """A webhook without rules, which the API server never calls."""
    return {
        "name": name,
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {"url": "https://127.0.0.1:1", "caBundle": base64.b64encode(bundle).decode()},
    }


def configuration(*webhooks: dict[str, Any]) -> dict[str, Any]:
    """The configuration with these webhooks, by default only ours."""
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
    """The stored bundles, by webhook."""
    stored = await asyncio.to_thread(server.request, "GET", f"{WEBHOOKS}/{NAME}")
    parts = ((hook["name"], hook["clientConfig"].get("caBundle", "")) for hook in stored["webhooks"])
    return {name: base64.b64decode(text) for name, text in parts}


async def overwrite(server: ApiServer, bundle: bytes) -> None:
    """Overwrite the bundle, as another program does."""
    value = base64.b64encode(bundle).decode()
    change = [{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": value}]
    content_type = "application/json-patch+json"
    await asyncio.to_thread(server.request, "PATCH", f"{WEBHOOKS}/{NAME}", change, content_type=content_type)


def allow(server: ApiServer, user: str, *verbs: str) -> None:
    """Allow a user only these verbs on the configuration."""
    group = "rbac.authorization.k8s.io"
    rule = {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["mutatingwebhookconfigurations"]}
    role = {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": NAME}}
    server.create(role | {"rules": [rule | {"resourceNames": [NAME], "verbs": list(verbs)}]})
    subject = {"kind": "User", "apiGroup": group, "name": user}
    reference = {"kind": "ClusterRole", "apiGroup": group, "name": NAME}
    binding = {"apiVersion": f"{group}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": NAME}}
    server.create(binding | {"roleRef": reference, "subjects": [subject]})


@asynccontextmanager
async def running_reconciler(
    server: ApiServer, *, user: str = "", trust: Latest[Trust] | None = None
) -> AsyncGenerator[CaBundleReconciler, None]:
    """A running reconciler of the bundle RIGHT, or of the roots of `trust`, as this user."""
    kubeconfig = server.kubeconfig_for(user) if user else server.kubeconfig
    async with connect(str(kubeconfig)) as client:
        reconciler = CaBundleReconciler(client, name=NAME, osm_namespace="osm-system", trust=trust or Latest(TRUST))
        async with background_tasks(bundle=reconciler.run()):
            yield reconciler


async def until(latest: Latest[CaBundle], condition: Callable[[CaBundle], object], *, within: float = 10) -> float:
    """Wait until the condition is true; the seconds that it took."""
    started = time.monotonic()
    async with asyncio.timeout(within):
        async for bundle in latest.values():
            if condition(bundle):
                break
    return time.monotonic() - started


async def test_the_bundle_is_unknown_before_the_configuration_was_read(api_server: ApiServer) -> None:
    async with connect(str(api_server.kubeconfig)) as client:
        bundle = CaBundleReconciler(client, name=NAME, osm_namespace="osm-system", trust=Latest(TRUST)).bundle.value
    assert bundle == CaBundle(missing=f"MutatingWebhookConfiguration {NAME} has not been read yet")


async def test_only_our_webhook_is_written_at_any_index(api_server: ApiServer) -> None:
    api_server.create(configuration(webhook("other.k8s.io", bundle=b""), webhook(WEBHOOK, bundle=b"")))
    async with running_reconciler(api_server) as reconciler:
        await until(reconciler.bundle, lambda bundle: bundle.pem == RIGHT)
        assert await bundles(api_server) == {"other.k8s.io": b"", WEBHOOK: RIGHT}


async def test_the_bundle_follows_the_trust(api_server: ApiServer) -> None:
    api_server.create(configuration())
    trust = Latest(TRUST)
    async with running_reconciler(api_server, trust=trust) as reconciler:
        await until(reconciler.bundle, lambda bundle: bundle.pem == RIGHT)
        trust.set(Trust.of(TRUST.signer, [Authority.create("osm-ca").root_pem]))
        await until(reconciler.bundle, lambda bundle: bundle.pem == trust.value.roots_pem, within=2)


async def test_a_configuration_without_our_webhook_is_reported_and_not_changed(api_server: ApiServer) -> None:
    api_server.create(configuration(webhook("other.k8s.io", bundle=b"")))
    async with running_reconciler(api_server) as reconciler:
        await until(reconciler.bundle, lambda bundle: f"has no webhook {WEBHOOK}" in bundle.missing)
        assert await bundles(api_server) == {"other.k8s.io": b""}


async def test_repairs_are_limited_if_another_program_overwrites_the_bundle_again_and_again(
    api_server: ApiServer,
) -> None:
    created = await asyncio.to_thread(api_server.create, configuration())
    written = 0
    async with running_reconciler(api_server) as reconciler:
        end = time.monotonic() + 2
        while time.monotonic() < end:
            await until(reconciler.bundle, lambda bundle: bundle.pem == RIGHT)
            await overwrite(api_server, b"wrong")
            written += 1
            await until(reconciler.bundle, lambda bundle: bundle.pem == b"wrong")
        await until(reconciler.bundle, lambda bundle: bundle.pem == RIGHT, within=2)
    stored = await asyncio.to_thread(api_server.request, "GET", f"{WEBHOOKS}/{NAME}")
    assert stored["metadata"]["uid"] == created["metadata"]["uid"]
    assert written < 20


async def permit(server: ApiServer, verb: str) -> None:
    """Allow the user of `allow` one more verb."""
    rule = [{"op": "add", "path": "/rules/0/verbs/-", "value": verb}]
    content_type = "application/json-patch+json"
    await asyncio.to_thread(server.request, "PATCH", f"{ROLES}/{NAME}", rule, content_type=content_type)


async def test_a_forbidden_repair_is_logged_once_and_the_bundle_is_still_watched(api_server: ApiServer) -> None:
    api_server.create(configuration())
    allow(api_server, "looker", "list", "watch")
    with capture_logs() as lines:
        async with running_reconciler(api_server, user="looker") as reconciler:
            await until(reconciler.bundle, lambda bundle: not bundle.missing)
            # Long enough that growing pauses between attempts would delay the next observation.
            await asyncio.sleep(4)
            await asyncio.to_thread(api_server.request, "DELETE", f"{WEBHOOKS}/{NAME}")
            assert await until(reconciler.bundle, lambda bundle: "there is no" in bundle.missing) < 0.5
    (error,) = (line["error"] for line in lines if line["log_level"] == "error")
    assert "its user must be allowed to patch mutatingwebhookconfigurations" in error


async def test_a_repair_that_becomes_allowed_succeeds_within_2_s(
    api_server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = 0
    patch = KubernetesClient.patch

    async def counted(self: KubernetesClient, *args: Any, **options: Any) -> bytes:
        nonlocal attempts
        attempts += 1
        return await patch(self, *args, **options)

    monkeypatch.setattr(KubernetesClient, "patch", counted)
    api_server.create(configuration())
    allow(api_server, "helper", "list", "watch")
    async with running_reconciler(api_server, user="helper") as reconciler:
        await until(reconciler.bundle, lambda bundle: not bundle.missing)
        # Pauses of at most 1.5 s make at least 9 attempts; pauses that double up to 8 s make at most 7.
        await asyncio.sleep(9.5)
        assert attempts >= 8
        await permit(api_server, "patch")
        assert await until(reconciler.bundle, lambda bundle: bundle.pem == RIGHT, within=15) < 2


async def test_a_reconciler_with_an_outdated_index_does_not_write_into_another_webhook(api_server: ApiServer) -> None:
    api_server.create(configuration())
    allow(api_server, "blind", "list")  # without a watch it does not see later changes
    with capture_logs() as lines:
        async with running_reconciler(api_server, user="blind") as reconciler:
            await until(reconciler.bundle, lambda bundle: not bundle.missing)
            other = [{"op": "add", "path": "/webhooks/0", "value": webhook("other.k8s.io", bundle=b"")}]
            content_type = "application/json-patch+json"
            await asyncio.to_thread(api_server.request, "PATCH", f"{WEBHOOKS}/{NAME}", other, content_type=content_type)
            await permit(api_server, "patch")

            async def is_rejected() -> bool:
                return any("(422)" in line.get("error", "") for line in lines)

            await eventually(is_rejected, within=5)
            assert await bundles(api_server) == {"other.k8s.io": b"", WEBHOOK: b""}
