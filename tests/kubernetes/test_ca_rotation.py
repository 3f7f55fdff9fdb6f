"""CA rotation with a real Envoy, a controller and a real API server; the proxy stays connected."""

import asyncio
import base64
import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from osm_probes.admission.pod import bootstrap_secret_name
from osm_probes.cluster.bootstrap_secrets import CredentialIssuer
from osm_probes.cluster.ca_secret_content import CaSecretContent, decode_ca_secret, retire_patch, sign_patch
from osm_probes.foundation.latest import Latest
from osm_probes.mesh.identity import SIDECAR, Identity, ProxyName
from osm_probes.mesh.labels import CA_SIGNS_SINCE, TRUST_FINGERPRINT
from osm_probes.pki.authority import Authority
from osm_probes.pki.trust import Trust, split_roots
from osm_probes.xds.bootstrap import AdsTarget, build_bootstrap
from osm_probes.xds.sds_files import SdsFiles
from tests.functional.envoys import Admin, running_envoy
from tests.functional.programs import Program
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.controllers import MERGE, cluster, controller
from tests.standin import until

__all__ = ["cluster"]
pytestmark = [pytest.mark.kubernetes, pytest.mark.envoy]
PROXY = ProxyName("7c2d5a64-0b1e-4f3a-9d72-2f8e4c6a9b12", SIDECAR, Identity("bookstore", "bookstore"))
CA = "/api/v1/namespaces/osm-system/secrets/osm-ca-bundle"
SECRETS = "/api/v1/namespaces/bookstore/secrets"


class Pod:
    """The bookstore's pod: its Secret, and the folder that the Secret is mounted at. The test acts as the kubelet."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self.folder = folder / "mount"
        self.folder.mkdir()
        self._server = server
        self._version = 0

    def create(self, trust: Trust, *, port: int) -> bytes:
        """Create its Secret, as the injector does; its bootstrap for an ADS on this port of loopback."""
        credentials = CredentialIssuer(Latest(trust), trust_domain="cluster.local", osm_namespace="osm-system")
        body = credentials.secret_patch(PROXY)
        body["metadata"] |= {"name": bootstrap_secret_name(PROXY.uuid), "labels": {"osm-proxy-uuid": PROXY.uuid}}
        self._server.request("POST", SECRETS, body)
        return build_bootstrap(
            PROXY,
            trust_domain="cluster.local",
            ads=AdsTarget("127.0.0.1", port, credentials.server_name),
            secrets=SdsFiles(str(self.folder)),
        )

    def mount(self) -> None:
        """Update the mounted files, as kubelets do: fill a new folder, then replace the link to the old one."""
        secret = self._server.request("GET", f"{SECRETS}/{bootstrap_secret_name(PROXY.uuid)}")
        self._version += 1
        new = self.folder / f"..{self._version}"
        new.mkdir()
        for name, content in secret["data"].items():
            (new / name).write_bytes(base64.b64decode(content))
            with contextlib.suppress(FileExistsError):
                (self.folder / name).symlink_to(f"..data/{name}")
        (self.folder / "..data_tmp").symlink_to(new.name)
        (self.folder / "..data_tmp").rename(self.folder / "..data")

    def trust(self) -> str:
        """The fingerprint of the trust in its Secret."""
        secret = self._server.request("GET", f"{SECRETS}/{bootstrap_secret_name(PROXY.uuid)}")
        return str(secret["metadata"]["annotations"][TRUST_FINGERPRINT])

    def roots(self) -> set[bytes]:
        """The roots in its Secret."""
        secret = self._server.request("GET", f"{SECRETS}/{bootstrap_secret_name(PROXY.uuid)}")
        (resource,) = json.loads(base64.b64decode(secret["data"]["ads-roots.json"]))["resources"]
        return set(split_roots(base64.b64decode(resource["validation_context"]["trusted_ca"]["inline_bytes"])))


def ca_content(server: ApiServer) -> CaSecretContent:
    """The contents of the CA Secret."""
    return decode_ca_secret(json.dumps(server.request("GET", CA)).encode())


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


@contextlib.contextmanager
def restarted(cluster: ApiServer, folder: Path, port: int) -> Iterator[Program]:
    """A new controller on the same ADS port."""
    with controller(cluster, folder, f"--ads-port={port}") as program:
        program.until_ready()
        yield program


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
            expected = CaSecretContent(new.root_pem, new.key_pem, old.root_pem, old.key_pem).data
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
