"""The key of the proxies' uuids in the CA Secret of a real API server: all replicas agree on one, and it is kept."""

import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from osm_probes.cluster.ca_secret import CaSecret
from osm_probes.cluster.proxy_uuid_key import ProxyUuidKey
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.connect import connect
from osm_probes.mesh.identity import Identity
from osm_probes.mesh.proxy_uuid import UuidKey, is_bound
from osm_probes.pki.authority import Authority
from tests.kubernetes.apiserver import ApiServer, ApiServerError
from tests.kubernetes.ca_secrets import ignore_reason, path, put, stored
from tests.kubernetes.manifests import allow
from tests.kubernetes.waiting import eventually
from tests.log_capture import capture_logs

pytestmark = pytest.mark.kubernetes
CA = Authority.create("osm-ca")
SELLER = Identity("shop", "seller")
MERGE = "application/merge-patch+json"


@asynccontextmanager
async def replica(kubeconfig: Path, namespace: str) -> AsyncGenerator[ProxyUuidKey]:
    """The key as one program has it."""
    async with connect(str(kubeconfig)) as client:
        secret = CaSecret(client, namespace=namespace, name="osm-ca-bundle", common_name="osm-ca")
        trust = Latest(await secret.load_or_create(on_waiting=ignore_reason))
        key = ProxyUuidKey(secret, patience=0.5)
        async with background_tasks(secret=secret.follow(trust), key=key.run()):
            yield key


async def until_key(key: ProxyUuidKey, expected: UuidKey | None = None) -> None:
    """Wait until there is a key, or this key."""

    async def is_there() -> bool:
        return key.value is not None and (expected is None or key.value == expected)

    await eventually(is_there, within=20)


async def test_a_new_ca_secret_has_a_key(api_server: ApiServer, namespace: str) -> None:
    async with replica(api_server.kubeconfig, namespace) as key:
        assert key.value == UuidKey(stored(api_server, namespace)["proxy-uuid.key"])
        assert key.value.made(key.new_uuid(SELLER), identity=SELLER)


async def test_replicas_that_find_a_secret_of_an_earlier_version_agree_on_one_key(
    api_server: ApiServer, namespace: str
) -> None:
    put(api_server, namespace, ca_crt=CA.root_pem, private_key=CA.key_pem)
    kubeconfig = api_server.kubeconfig
    async with (
        replica(kubeconfig, namespace) as one,
        replica(kubeconfig, namespace) as two,
        replica(kubeconfig, namespace) as three,
    ):
        await until_key(one)
        for other in (two, three):
            await until_key(other, one.value)
        found = stored(api_server, namespace)
        assert found == {"ca.crt": CA.root_pem, "private.key": CA.key_pem, "proxy-uuid.key": found["proxy-uuid.key"]}
        assert one.value == UuidKey(found["proxy-uuid.key"])


async def test_a_key_that_is_removed_or_deleted_with_its_secret_is_stored_again(
    api_server: ApiServer, namespace: str
) -> None:
    async with replica(api_server.kubeconfig, namespace) as key:
        expected = key.value

        async def is_stored() -> bool:
            found = await asyncio.to_thread(stored, api_server, namespace)
            return found.get("proxy-uuid.key") == (expected.key if expected else None)

        name = f"{path(namespace)}/osm-ca-bundle"
        change = {"data": {"proxy-uuid.key": None}}
        await asyncio.to_thread(api_server.request, "PATCH", name, change, content_type=MERGE)
        await eventually(is_stored, within=20)
        # An earlier version that runs beside this one stores the Secret without the key.
        api_server.request("DELETE", name)
        await eventually(lambda: _exists(api_server, name), within=20)
        await eventually(is_stored, within=20)
        assert key.value == expected


async def _exists(server: ApiServer, name: str) -> bool:
    try:
        await asyncio.to_thread(server.request, "GET", name)
    except ApiServerError:
        return False
    return True


async def test_a_key_that_somebody_damaged_is_reported_and_not_overwritten(
    api_server: ApiServer, namespace: str
) -> None:
    with capture_logs() as lines:
        async with replica(api_server.kubeconfig, namespace) as key:
            expected = key.value
            change = {"data": {"proxy-uuid.key": base64.b64encode(b"short").decode()}}
            name = f"{path(namespace)}/osm-ca-bundle"
            await asyncio.to_thread(api_server.request, "PATCH", name, change, content_type=MERGE)

            async def is_logged() -> bool:
                return any("has 5 bytes instead of 32" in str(line.get("error")) for line in lines)

            await eventually(is_logged, within=20)
            assert key.value == expected
            assert stored(api_server, namespace)["proxy-uuid.key"] == b"short"


async def test_without_the_permission_to_store_a_key_uuids_are_random_and_one_warning_says_so(
    api_server: ApiServer, namespace: str
) -> None:
    put(api_server, namespace, ca_crt=CA.root_pem, private_key=CA.key_pem)
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"]}]
    allow(api_server, namespace, f"reader-{namespace}", rules)
    with capture_logs() as lines:
        async with replica(api_server.kubeconfig_for(f"reader-{namespace}"), namespace) as key:

            async def is_logged() -> bool:
                return any(line["log_level"] == "warning" for line in lines)

            await eventually(is_logged, within=20)
            await asyncio.sleep(2)
            assert not is_bound(key.new_uuid(SELLER))
            (line,) = [line for line in lines if line["log_level"] == "warning"]
            assert line["event"].startswith("the key of the proxies' uuids is missing: ")
            assert line["error"].endswith("must be allowed to patch the Secret of the certificate authority")
            # Another program, which may patch the Secret, stores a key.
            async with replica(api_server.kubeconfig, namespace) as other:
                await until_key(other)
                await until_key(key, other.value)
    assert any(line["event"] == "the key of the proxies' uuids is available" for line in lines)
