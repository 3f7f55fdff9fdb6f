"""The certificates in bootstrap Secrets, in a real API server: who gets one, and when it is renewed."""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from osm_probes.foundation.latest import Latest
from osm_probes.mesh.labels import BOOTSTRAP_MAC, CERTIFICATE_EXPIRES, TRUST_FINGERPRINT
from osm_probes.pki.authority import Authority, certificate_names
from osm_probes.pki.trust import Trust
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.bootstraps import (
    KEY,
    LEGACY_UUID,
    TRUST,
    annotate,
    annotations,
    get_secret,
    pod,
    pods_by_uuid,
    running_gc,
    secret,
    seller,
)
from tests.kubernetes.waiting import eventually
from tests.log_capture import capture_logs

pytestmark = pytest.mark.kubernetes


def names(found: dict[str, Any]) -> tuple[str, ...]:
    """The names in the certificate of a bootstrap Secret; none if it has no certificate."""
    if "ads-certificate.json" not in found.get("data", {}):
        return ()
    certificate = json.loads(base64.b64decode(found["data"]["ads-certificate.json"]))
    chain = certificate["resources"][0]["tls_certificate"]["certificate_chain"]["inline_bytes"]
    return certificate_names(base64.b64decode(chain))


async def until_issued(server: ApiServer, namespace: str, uuid: str) -> dict[str, Any]:
    """Wait until a Secret has a certificate, and return it."""

    async def is_issued() -> bool:
        return bool(names(await asyncio.to_thread(get_secret, server, namespace, uuid)))

    await eventually(is_issued, within=30)
    return get_secret(server, namespace, uuid)


async def test_the_secrets_of_existing_pods_get_the_newest_trust(api_server: ApiServer, namespace: str) -> None:
    uuids = [KEY.new_uuid(seller(namespace)) for _ in range(3)]
    for uuid in uuids:
        outdated = annotations(namespace, uuid) | {TRUST_FINGERPRINT: "other"}
        api_server.create(secret(namespace, uuid, annotations=outdated) | {"data": {"bootstrap.yaml": "e30="}})
    pods = pods_by_uuid(*((uuid, pod(namespace, f"of-{uuid}")) for uuid in uuids[:2]))
    async with running_gc(api_server, pods, namespace) as collector:

        async def is_done() -> bool:
            return collector.distributed_trust == TRUST.fingerprint

        await eventually(is_done, within=30)
        for uuid in uuids[:2]:
            found = get_secret(api_server, namespace, uuid)
            assert found["metadata"]["annotations"][TRUST_FINGERPRINT] == TRUST.fingerprint
            assert found["metadata"]["annotations"][BOOTSTRAP_MAC] == annotations(namespace, uuid)[BOOTSTRAP_MAC]
            assert found["data"]["bootstrap.yaml"] == "e30="
            assert f"{uuid}.sidecar.seller.{namespace}.cluster.local" in names(found)


async def test_a_certificate_is_renewed_after_half_of_its_validity(api_server: ApiServer, namespace: str) -> None:
    uuid = KEY.new_uuid(seller(namespace))
    soon = datetime.now(UTC) + timedelta(seconds=10)
    api_server.create(secret(namespace, uuid, annotations=annotations(namespace, uuid, expires=soon)))
    pods = pods_by_uuid((uuid, pod(namespace, "a")))
    async with running_gc(api_server, pods, namespace, validity=timedelta(seconds=16)):
        await asyncio.sleep(0.5)
        assert names(get_secret(api_server, namespace, uuid)) == ()
        await until_issued(api_server, namespace, uuid)


async def test_a_secret_of_an_earlier_version_gets_a_short_certificate(api_server: ApiServer, namespace: str) -> None:
    """As that version wrote it: its certificate was valid for ten years, and no annotation says so."""
    api_server.create(secret(namespace, LEGACY_UUID, annotations={TRUST_FINGERPRINT: TRUST.fingerprint}))
    pods = pods_by_uuid((LEGACY_UUID, pod(namespace, "a", account="buyer")))
    async with running_gc(api_server, pods, namespace):
        found = await until_issued(api_server, namespace, LEGACY_UUID)
        assert f"{LEGACY_UUID}.sidecar.buyer.{namespace}.cluster.local" in names(found)
        expires = datetime.fromisoformat(found["metadata"]["annotations"][CERTIFICATE_EXPIRES])
        assert timedelta(days=6) < expires - datetime.now(UTC) <= timedelta(days=7)


async def test_no_certificate_is_issued_without_the_proof_of_the_control_plane_and_one_line_says_so(
    api_server: ApiServer, namespace: str
) -> None:
    forged = KEY.new_uuid(seller("elsewhere"))
    unproven, stolen = (KEY.new_uuid(seller(namespace)) for _ in range(2))
    api_server.create(secret(namespace, forged, annotations={}))
    api_server.create(secret(namespace, unproven, annotations={}))
    other_type = secret(namespace, stolen) | {"type": "kubernetes.io/service-account-token"}
    other_type["metadata"]["annotations"] |= {"kubernetes.io/service-account.name": "default"}
    api_server.create(other_type)
    pods = pods_by_uuid(*((uuid, pod(namespace, uuid)) for uuid in (forged, unproven, stolen)))
    with capture_logs() as lines:
        async with running_gc(api_server, pods, namespace) as collector:

            async def is_settled() -> bool:
                return collector.distributed_trust == TRUST.fingerprint and len(lines) >= 2

            await eventually(is_settled, within=30)
            await asyncio.sleep(3)
            for uuid in (forged, unproven, stolen):
                assert names(get_secret(api_server, namespace, uuid)) == ()
    assert sorted(line["error"].replace(forged, "UUID") for line in lines if line["log_level"] == "warning") == [
        "the injector did not make this Secret: restart its pod",
        "the uuid UUID was not made for the service account of its pod: restart its pod",
    ]


async def test_a_user_who_edits_annotations_causes_no_second_renewal_until_the_trust_changes(
    api_server: ApiServer, namespace: str
) -> None:
    uuid = KEY.new_uuid(seller(namespace))
    api_server.create(secret(namespace, uuid, annotations=annotations(namespace, uuid) | {TRUST_FINGERPRINT: "old"}))
    pods, trust = pods_by_uuid((uuid, pod(namespace, "a"))), Latest(TRUST)
    async with running_gc(api_server, pods, namespace, trust=trust) as collector:
        first = await until_issued(api_server, namespace, uuid)
        for change in ({"trust": "x"}, {"expires": "x"}, {"expires": None}, {"expires": "9999-01-01T00:00:00Z"}):
            annotate(api_server, namespace, uuid, **change)
            await asyncio.sleep(1.5)
            assert get_secret(api_server, namespace, uuid)["data"] == first["data"]
        # The edited annotation does not hold back a rotation of the CA.
        assert collector.distributed_trust == TRUST.fingerprint
        trust.set(Trust.of(Authority.create("osm-ca"), [TRUST.signer.root_pem]))

        async def is_renewed() -> bool:
            found = await asyncio.to_thread(get_secret, api_server, namespace, uuid)
            return bool(found["data"] != first["data"])

        await eventually(is_renewed, within=30)


async def test_a_mesh_may_have_more_namespaces_than_a_usual_pool_has_connections(own_api_server: ApiServer) -> None:
    spaces = [f"space-{number}" for number in range(120)]
    for name in spaces:
        own_api_server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    uuid = KEY.new_uuid(seller(spaces[-1]))
    old = annotations(spaces[-1], uuid) | {TRUST_FINGERPRINT: "old"}
    own_api_server.create(secret(spaces[-1], uuid, annotations=old))
    pods = pods_by_uuid((uuid, pod(spaces[-1], "a")))
    async with running_gc(own_api_server, pods, *spaces):
        await until_issued(own_api_server, spaces[-1], uuid)
