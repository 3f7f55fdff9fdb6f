"""The CA Secret in a real API server: created once, never overwritten, created again after a deletion."""

import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from osm_probes.cluster.ca_secret import CaSecret
from osm_probes.cluster.ca_secret_content import CaSecretError
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.problem import Problem
from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.connect import connect
from osm_probes.pki.authority import Authority
from osm_probes.pki.trust import Trust, split_roots
from tests.kubernetes.apiserver import ApiServer, ApiServerError
from tests.kubernetes.ca_secrets import ignore_reason, path, put, stored

pytestmark = pytest.mark.kubernetes


async def test_ten_replicas_that_start_at_once_share_one_ca(api_server: ApiServer, namespace: str) -> None:
    async def replica() -> Authority:
        async with connect(str(api_server.kubeconfig)) as client:
            secret = CaSecret(client, namespace=namespace, name="osm-ca-bundle", common_name="osm-ca")
            return (await secret.load_or_create(on_waiting=ignore_reason)).signer

    authorities = await asyncio.gather(*(replica() for _ in range(10)))
    assert {authority.root_pem for authority in authorities} == {stored(api_server, namespace)["ca.crt"]}
    assert {authority.key_pem for authority in authorities} == {stored(api_server, namespace)["private.key"]}


def _long_ago() -> datetime:
    return datetime.now(UTC) - timedelta(days=4000)


ONE, OTHER, OLD = Authority.create("one"), Authority.create("other"), Authority.create("old", now=_long_ago)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"ca_crt": ONE.root_pem}, "has no private.key"),
        ({"private_key": ONE.key_pem}, "has no ca.crt"),
        ({"ca_crt": ONE.root_pem, "private_key": OTHER.key_pem}, "does not belong to the root certificate"),
        ({"ca_crt": OLD.root_pem, "private_key": OLD.key_pem}, "expired at"),
        ({"ca_crt": b"nonsense", "private_key": ONE.key_pem}, "cannot be read"),
    ],
)
async def test_an_unusable_secret_is_an_error_and_is_not_changed(
    api_server: ApiServer, namespace: str, data: dict[str, bytes], message: str
) -> None:
    put(api_server, namespace, **data)
    before = stored(api_server, namespace)
    async with connect(str(api_server.kubeconfig)) as client:
        secret = CaSecret(client, namespace=namespace, name="osm-ca-bundle", common_name="osm-ca")
        with pytest.raises(CaSecretError, match=message) as error:
            await secret.load_or_create(on_waiting=ignore_reason)
    assert f"Secret {namespace}/osm-ca-bundle" in str(error.value)
    assert "PRIVATE KEY" not in str(error.value)
    assert stored(api_server, namespace) == before


@asynccontextmanager
async def followed(server: ApiServer, namespace: str) -> AsyncGenerator[tuple[CaSecret, Latest[Trust]]]:
    """The Secret, created and followed."""
    async with connect(str(server.kubeconfig)) as client:
        secret = CaSecret(client, namespace=namespace, name="osm-ca-bundle", common_name="osm-ca")
        trust = Latest(await secret.load_or_create(on_waiting=ignore_reason))
        async with background_tasks(secret=secret.follow(trust)), asyncio.timeout(10):
            yield secret, trust


async def change(server: ApiServer, namespace: str, **data: bytes) -> None:
    """Change the Secret, as a person does."""
    encoded = {key.replace("_", "."): base64.b64encode(value).decode() for key, value in data.items()}
    content_type = "application/merge-patch+json"
    await asyncio.to_thread(
        server.request, "PATCH", f"{path(namespace)}/osm-ca-bundle", {"data": encoded}, content_type=content_type
    )


async def test_a_deleted_secret_is_created_again(api_server: ApiServer, namespace: str) -> None:
    async with followed(api_server, namespace) as (_, trust):
        for _ in range(2):
            await asyncio.to_thread(api_server.request, "DELETE", f"{path(namespace)}/osm-ca-bundle")
            await _until_stored(api_server, namespace, trust.value.signer.root_pem)


async def test_a_new_ca_is_trusted_at_once_and_does_not_sign(api_server: ApiServer, namespace: str) -> None:
    async with followed(api_server, namespace) as (secret, trust):
        signer, before = trust.value.signer, trust.version
        await change(api_server, namespace, ca_crt=OTHER.root_pem, private_key=OTHER.key_pem)
        await trust.after(before)
        assert trust.value.signer == signer
        assert set(split_roots(trust.value.roots_pem)) == {signer.root_pem, OTHER.root_pem}
        assert not secret.problem.value
        assert stored(api_server, namespace)["ca.crt"] == OTHER.root_pem


async def test_unusable_contents_are_a_problem_and_are_not_changed(api_server: ApiServer, namespace: str) -> None:
    async with followed(api_server, namespace) as (secret, trust):
        before = trust.value
        await change(api_server, namespace, ca_crt=OTHER.root_pem)
        await secret.problem.after(0)
        assert "does not belong to the root certificate; the authority in use stays" in str(secret.problem.value)
        assert trust.value is before
        assert stored(api_server, namespace)["ca.crt"] == OTHER.root_pem
        await change(api_server, namespace, ca_crt=before.signer.root_pem)
        await secret.problem.after(1)
        assert not secret.problem.value


async def _until_stored(server: ApiServer, namespace: str, root_pem: bytes) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                if (await asyncio.to_thread(stored, server, namespace))["ca.crt"] == root_pem:
                    return
            except ApiServerError:
                pass
            await asyncio.sleep(0.05)


async def test_loading_waits_for_an_api_server_that_is_away(own_api_server: ApiServer) -> None:
    own_api_server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "osm-system"}})
    own_api_server.kill()
    reasons: list[Problem] = []
    async with connect(str(own_api_server.kubeconfig)) as client:
        secret = CaSecret(client, namespace="osm-system", name="osm-ca-bundle", common_name="osm-ca")
        loading = asyncio.ensure_future(secret.load_or_create(on_waiting=reasons.append))
        await asyncio.sleep(1.0)
        assert not loading.done()
        assert len(reasons) == 1
        assert reasons[0].summary == (
            "the Secret of the certificate authority cannot be read: the API server cannot be reached"
        )
        assert reasons[0].detail.startswith("Secret osm-system/osm-ca-bundle cannot be read: ")
        await asyncio.to_thread(own_api_server.start)
        async with asyncio.timeout(15):
            trust = await loading
    assert stored(own_api_server, "osm-system")["ca.crt"] == trust.signer.root_pem
