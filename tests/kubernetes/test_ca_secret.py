"""The CA in a Secret of a real API server: made once, never overwritten, written back."""

import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from osm_probes.cluster.ca_secret import AuthoritySecret
from osm_probes.cluster.ca_secret_content import AuthoritySecretError
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.connect import connect
from osm_probes.pki.authority import Authority
from osm_probes.pki.trust import Trust, roots_of
from tests.kubernetes.apiserver import ApiServer, ApiServerError

pytestmark = pytest.mark.kubernetes


@pytest.fixture
def namespace(api_server: ApiServer, new_namespace: Any) -> str:
    """A namespace of this test alone."""
    manifest = new_namespace()
    api_server.create(manifest)
    return str(manifest["metadata"]["name"])


def path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/secrets"


def stored(server: ApiServer, namespace: str) -> dict[str, bytes]:
    """What the Secret holds."""
    data = server.request("GET", f"{path(namespace)}/osm-ca-bundle")["data"]
    return {key: base64.b64decode(value) for key, value in data.items()}


def put(server: ApiServer, namespace: str, **data: bytes) -> None:
    """Somebody else's Secret."""
    encoded = {key.replace("_", "."): base64.b64encode(value).decode() for key, value in data.items()}
    server.request("POST", path(namespace), {"metadata": {"name": "osm-ca-bundle"}, "data": encoded})


def untold(_reason: str) -> None:
    """For who need not know what is waited for."""


async def test_of_ten_replicas_that_race_all_have_the_one_authority(api_server: ApiServer, namespace: str) -> None:
    async def replica() -> Authority:
        async with connect(str(api_server.kubeconfig)) as client:
            secret = AuthoritySecret(client, namespace=namespace, name="osm-ca-bundle", common_name="osm-ca")
            return (await secret.load_or_create(waiting=untold)).signer

    found = await asyncio.gather(*(replica() for _ in range(10)))
    assert {each.root_pem for each in found} == {stored(api_server, namespace)["ca.crt"]}
    assert {each.key_pem for each in found} == {stored(api_server, namespace)["private.key"]}


def _long_ago() -> datetime:
    return datetime.now(UTC) - timedelta(days=4000)


ONE, OTHER, OLD = Authority.create("one"), Authority.create("other"), Authority.create("old", now=_long_ago)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"ca_crt": ONE.root_pem}, "has no private.key"),
        ({"private_key": ONE.key_pem}, "has no ca.crt"),
        ({"ca_crt": ONE.root_pem, "private_key": OTHER.key_pem}, "does not belong to the root certificate"),
        ({"ca_crt": OLD.root_pem, "private_key": OLD.key_pem}, "expired at"),
        ({"ca_crt": b"nonsense", "private_key": ONE.key_pem}, "cannot be read"),
    ],
)
async def test_a_secret_that_cannot_be_used_is_refused_and_left_as_it_is(
    api_server: ApiServer, namespace: str, data: dict[str, bytes], words: str
) -> None:
    put(api_server, namespace, **data)
    before = stored(api_server, namespace)
    async with connect(str(api_server.kubeconfig)) as client:
        secret = AuthoritySecret(client, namespace=namespace, name="osm-ca-bundle", common_name="osm-ca")
        with pytest.raises(AuthoritySecretError, match=words) as error:
            await secret.load_or_create(waiting=untold)
    assert f"Secret {namespace}/osm-ca-bundle" in str(error.value)
    assert "PRIVATE KEY" not in str(error.value)
    assert stored(api_server, namespace) == before


@asynccontextmanager
async def kept(server: ApiServer, namespace: str) -> AsyncGenerator[tuple[AuthoritySecret, Latest[Trust]]]:
    """The Secret, made and looked after."""
    async with connect(str(server.kubeconfig)) as client:
        secret = AuthoritySecret(client, namespace=namespace, name="osm-ca-bundle", common_name="osm-ca")
        trust = Latest(await secret.load_or_create(waiting=untold))
        async with background_tasks(keep=secret.keep(trust)), asyncio.timeout(10):
            yield secret, trust


async def change(server: ApiServer, namespace: str, **data: bytes) -> None:
    """Somebody changes it."""
    encoded = {key.replace("_", "."): base64.b64encode(value).decode() for key, value in data.items()}
    form = "application/merge-patch+json"
    await asyncio.to_thread(server.request, "PATCH", f"{path(namespace)}/osm-ca-bundle", {"data": encoded}, form=form)


async def test_a_deleted_secret_is_written_back(api_server: ApiServer, namespace: str) -> None:
    async with kept(api_server, namespace) as (_, trust):
        for _ in range(2):
            await asyncio.to_thread(api_server.request, "DELETE", f"{path(namespace)}/osm-ca-bundle")
            await _until_stored(api_server, namespace, trust.value.signer.root_pem)


async def test_another_pair_is_trusted_from_now_on_and_does_not_sign(api_server: ApiServer, namespace: str) -> None:
    async with kept(api_server, namespace) as (secret, trust):
        signer, before = trust.value.signer, trust.version
        await change(api_server, namespace, ca_crt=OTHER.root_pem, private_key=OTHER.key_pem)
        await trust.after(before)
        assert trust.value.signer == signer
        assert set(roots_of(trust.value.roots_pem)) == {signer.root_pem, OTHER.root_pem}
        assert secret.problem.value == ""
        assert stored(api_server, namespace)["ca.crt"] == OTHER.root_pem


async def test_what_cannot_be_used_is_told_and_left_alone(api_server: ApiServer, namespace: str) -> None:
    async with kept(api_server, namespace) as (secret, trust):
        before = trust.value
        await change(api_server, namespace, ca_crt=OTHER.root_pem)
        await secret.problem.after(0)
        assert "does not belong to the root certificate; the authority in use stays" in secret.problem.value
        assert trust.value is before
        assert stored(api_server, namespace)["ca.crt"] == OTHER.root_pem
        await change(api_server, namespace, ca_crt=before.signer.root_pem)
        await secret.problem.after(1)
        assert secret.problem.value == ""


async def _until_stored(server: ApiServer, namespace: str, root_pem: bytes) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                if (await asyncio.to_thread(stored, server, namespace))["ca.crt"] == root_pem:
                    return
            except ApiServerError:
                pass
            await asyncio.sleep(0.05)


async def test_an_api_server_that_is_away_is_waited_for(own_api_server: ApiServer) -> None:
    own_api_server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "osm-system"}})
    own_api_server.kill()
    reasons: list[str] = []
    async with connect(str(own_api_server.kubeconfig)) as client:
        secret = AuthoritySecret(client, namespace="osm-system", name="osm-ca-bundle", common_name="osm-ca")
        loading = asyncio.ensure_future(secret.load_or_create(waiting=reasons.append))
        await asyncio.sleep(1.0)
        assert not loading.done()
        assert len(reasons) == 1
        assert reasons[0].startswith("Secret osm-system/osm-ca-bundle cannot be read: ")
        await asyncio.to_thread(own_api_server.start)
        async with asyncio.timeout(15):
            trust = await loading
    assert stored(own_api_server, "osm-system")["ca.crt"] == trust.signer.root_pem
