"""Sidecars' certificates that expire: a real Envoy, a controller, and a real API server."""

import asyncio
import json
import time
from datetime import timedelta
from pathlib import Path

import pytest

from osm_probes.pki.authority import Authority
from osm_probes.pki.trust import Trust
from tests.functional.envoys import Admin, running_envoy
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.bookstore_pod import Pod, ca_content, restarted
from tests.kubernetes.controllers import cluster, controller
from tests.standin import until

__all__ = ["cluster"]
pytestmark = [pytest.mark.kubernetes, pytest.mark.envoy, pytest.mark.timeout(180)]
CONNECTED = "control_plane.connected_state: 1"
SHORT = timedelta(seconds=1)


async def test_after_an_absence_of_the_control_plane_sidecars_with_expired_certificates_connect_again(
    cluster: ApiServer, envoy: Path, tmp_path: Path
) -> None:
    """Nobody restarts the pod: the leader renews the certificate, the kubelet updates the volume, Envoy reads it."""
    pod = Pod(cluster, tmp_path)
    with controller(cluster, tmp_path / "first") as program:
        await asyncio.to_thread(program.until_ready)
        port, stored = program.served_port, ca_content(cluster)
    trust = Trust.of(Authority.load(stored.root_pem, stored.key_pem))
    bootstrap = await asyncio.to_thread(pod.create, trust, port=port, validity=SHORT)
    pod.mount()
    await asyncio.sleep(2 * SHORT.total_seconds())
    async with running_envoy(envoy, bootstrap, folder=tmp_path) as admin:
        assert await _days_left(admin) == 0
        with restarted(cluster, tmp_path / "second", port):
            await asyncio.to_thread(until, lambda: _renewed(pod), within=20)
            # Until the kubelet updates the volume, Envoy has the expired certificate, and is refused.
            assert CONNECTED not in await admin.get("/stats?filter=connected_state")
            pod.mount()
            await admin.until("/stats?filter=connected_state", lambda text: CONNECTED in text, within=30)
            assert await _days_left(admin) == 6


def _renewed(pod: Pod) -> bool:
    """Whether the certificate in the Secret expires in days."""
    return pod.expires() > time.time() + 86400


async def _days_left(admin: Admin) -> int:
    """The days for which the certificate that Envoy uses for the ADS is valid."""

    def is_loaded(text: str) -> bool:
        return any(context.get("cert_chain") for context in json.loads(text)["certificates"])

    contexts = json.loads(await admin.until("/certs", is_loaded, within=20))["certificates"]
    chains = [certificate for context in contexts for certificate in context.get("cert_chain", ())]
    return min(int(certificate["days_until_expiration"]) for certificate in chains[:1])
