"""CA rotation with a real Envoy, a controller and a real API server; the proxy stays connected."""

import asyncio
import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from osm_probes.cluster.ca_secret_content import CaSecretContent, retire_patch, sign_patch
from osm_probes.mesh.labels import (
    CA_SIGNS_SINCE,
)
from osm_probes.pki.authority import Authority
from osm_probes.pki.trust import Trust
from tests.functional.envoys import Admin, running_envoy
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.bookstore_pod import CA, Pod, ca_content, restarted
from tests.kubernetes.controllers import MERGE, cluster, controller
from tests.standin import until

__all__ = ["cluster"]
pytestmark = [pytest.mark.kubernetes, pytest.mark.envoy, pytest.mark.timeout(180)]


def patch_ca(server: ApiServer, patch: Any) -> None:
    """Patch the CA Secret."""
    server.request("PATCH", CA, patch, content_type=MERGE)


async def until_roots(admin: Admin, number: int) -> None:
    """Wait until each TLS context of Envoy has this number of roots."""

    def has_number(text: str) -> bool:
        contexts = [context["ca_cert"] for context in json.loads(text)["certificates"] if context.get("ca_cert")]
        return bool(contexts) and {len(roots) for roots in contexts} == {number}

    await admin.until("/certs", has_number, within=20)


async def until_serials(admin: Admin, number: int) -> set[str]:
    """Wait until this number of certificates is in use, and return their serial numbers."""
    text = await admin.until("/certs", lambda text: len(_serials(text)) == number, within=20)
    return _serials(text)


def _serials(text: str) -> set[str]:
    contexts = json.loads(text)["certificates"]
    return {certificate["serial_number"] for context in contexts for certificate in context.get("cert_chain", ())}


async def test_a_ca_rotation_completes_and_the_proxy_stays_connected(
    cluster: ApiServer, envoy: Path, tmp_path: Path
) -> None:
    pod, new = Pod(cluster, tmp_path), Authority.create("osm-ca")
    with contextlib.ExitStack() as first:
        program = first.enter_context(controller(cluster, tmp_path / "first"))
        program.until_ready()
        port, old = program.served_port, ca_content(cluster)
        bootstrap_file = await asyncio.to_thread(
            pod.create, Trust.of(Authority.load(old.root_pem, old.key_pem)), port=port
        )
        pod.mount()
        async with running_envoy(envoy, bootstrap_file, folder=tmp_path) as admin:
            await admin.until("/ready", lambda text: text.startswith("LIVE"), within=10)
            await until_roots(admin, 1)

            # A new CA is put into the Secret: all must trust it, and it does not sign yet.
            await asyncio.to_thread(patch_ca, cluster, {"data": CaSecretContent(new.root_pem, new.key_pem).data})
            await asyncio.to_thread(until, lambda: pod.roots() == {old.root_pem, new.root_pem}, within=15)
            expected = CaSecretContent(new.root_pem, new.key_pem, old.root_pem, old.key_pem, old.uuid_key).data
            await asyncio.to_thread(until, lambda: ca_content(cluster).data == expected, within=15)
            pod.mount()
            await until_roots(admin, 2)
            assert program.get("/health/ready") == "Service is ready"
            before = await until_serials(admin, 2)

            # The leader makes the new CA sign after 5 minutes; the test does it at once.
            await asyncio.to_thread(patch_ca, cluster, sign_patch(datetime.now(UTC)))
            await asyncio.to_thread(until, lambda: program.get("/health/ready") == "Service is ready", within=5)
            await admin.until("/certs", lambda text: len(_serials(text) - before) >= 1, within=20)
            trust = Trust.of(new, [old.root_pem]).fingerprint
            await asyncio.to_thread(until, lambda: pod.trust() == trust, within=20)
            pod.mount()
            await admin.until("/certs", lambda text: not _serials(text) & before, within=20)

            # A restarted controller continues with the same trust, and Envoy reconnects to it.
            first.close()
            with restarted(cluster, tmp_path / "second", port):
                await _until_connected(admin)
                await until_roots(admin, 2)
            await asyncio.to_thread(patch_ca, cluster, retire_patch())
            with restarted(cluster, tmp_path / "third", port):
                await _until_connected(admin)
                await asyncio.to_thread(until, lambda: pod.roots() == {new.root_pem}, within=30)
                pod.mount()
                await until_roots(admin, 1)
            assert CA_SIGNS_SINCE not in cluster.request("GET", CA)["metadata"].get("annotations", {})


async def _until_connected(admin: Admin) -> None:
    await admin.until(
        "/stats?filter=connected_state", lambda text: "control_plane.connected_state: 1" in text, within=30
    )
