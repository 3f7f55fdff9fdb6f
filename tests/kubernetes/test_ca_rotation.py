"""The certificate authority replaced under a real Envoy, a controller and a real API server; each stays connected."""

import asyncio
import base64
import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from osm_probes.admission.pod import secret_name
from osm_probes.cluster.bootstrap_secrets import Credentials
from osm_probes.cluster.ca_secret_content import Content, content_of, retired, signing
from osm_probes.foundation.latest import Latest
from osm_probes.mesh.identity import SIDECAR, Identity, ProxyName
from osm_probes.mesh.labels import CA_SIGNS_SINCE, TRUST_MARK
from osm_probes.pki.authority import Authority
from osm_probes.pki.trust import Trust, roots_of
from osm_probes.xds.bootstrap import AdsTarget, bootstrap
from osm_probes.xds.secret_files import SecretFiles
from tests.functional.envoys import Admin, running_envoy
from tests.functional.programs import Program
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.test_controller import MERGE, cluster, controller
from tests.standin import until

__all__ = ["cluster"]
pytestmark = [pytest.mark.kubernetes, pytest.mark.envoy]
PROXY = ProxyName("7c2d5a64-0b1e-4f3a-9d72-2f8e4c6a9b12", SIDECAR, Identity("bookstore", "bookstore"))
CA = "/api/v1/namespaces/osm-system/secrets/osm-ca-bundle"
SECRETS = "/api/v1/namespaces/bookstore/secrets"


class Pod:
    """The bookstore's: its Secret, and the folder in which a kubelet would show it. This test is the kubelet."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self.folder = folder / "mounted"
        self.folder.mkdir()
        self._server = server
        self._shown = 0

    def create(self, trust: Trust, *, port: int) -> bytes:
        """Store its Secret, as the injector does; its bootstrap, for an ADS on this port of loopback."""
        credentials = Credentials(Latest(trust), trust_domain="cluster.local", osm_namespace="osm-system")
        body = credentials.content(PROXY)
        body["metadata"] |= {"name": secret_name(PROXY.uuid), "labels": {"osm-proxy-uuid": PROXY.uuid}}
        self._server.request("POST", SECRETS, body)
        return bootstrap(
            PROXY,
            trust_domain="cluster.local",
            ads=AdsTarget("127.0.0.1", port, credentials.server_name),
            secrets=SecretFiles(str(self.folder)),
        )

    def show(self) -> None:
        """As kubelets do: a new folder, then the link to it is moved over the old one."""
        secret = self._server.request("GET", f"{SECRETS}/{secret_name(PROXY.uuid)}")
        self._shown += 1
        now = self.folder / f"..{self._shown}"
        now.mkdir()
        for name, content in secret["data"].items():
            (now / name).write_bytes(base64.b64decode(content))
            with contextlib.suppress(FileExistsError):
                (self.folder / name).symlink_to(f"..data/{name}")
        (self.folder / "..data_tmp").symlink_to(now.name)
        (self.folder / "..data_tmp").rename(self.folder / "..data")

    def mark(self) -> str:
        """Of the trust that its Secret was made by."""
        secret = self._server.request("GET", f"{SECRETS}/{secret_name(PROXY.uuid)}")
        return str(secret["metadata"]["annotations"][TRUST_MARK])

    def roots(self) -> set[bytes]:
        """Whom its Secret says to trust."""
        secret = self._server.request("GET", f"{SECRETS}/{secret_name(PROXY.uuid)}")
        (resource,) = json.loads(base64.b64decode(secret["data"]["ads-roots.json"]))["resources"]
        return set(roots_of(base64.b64decode(resource["validation_context"]["trusted_ca"]["inline_bytes"])))


def held(server: ApiServer) -> Content:
    """What the authority's Secret holds."""
    return content_of(json.dumps(server.request("GET", CA)).encode())


def change(server: ApiServer, how: Any) -> None:
    """Change it."""
    server.request("PATCH", CA, how, form=MERGE)


async def told(admin: Admin, roots: int) -> None:
    """Wait until Envoy's workloads trust so many roots."""

    def counts(text: str) -> bool:
        contexts = [each["ca_cert"] for each in json.loads(text)["certificates"] if each.get("ca_cert")]
        return bool(contexts) and {len(each) for each in contexts} == {roots}

    await admin.until("/certs", counts, within=20)


async def certified_by(admin: Admin, number: int) -> set[str]:
    """The serial numbers of the certificates in use, once there are so many."""
    found = await admin.until("/certs", lambda text: len(_serials(text)) == number, within=20)
    return _serials(found)


def _serials(text: str) -> set[str]:
    return {each["serial_number"] for one in json.loads(text)["certificates"] for each in one.get("cert_chain", ())}


@contextlib.contextmanager
def restarted(cluster: ApiServer, folder: Path, port: int) -> Iterator[Program]:
    """Another controller on this port."""
    with controller(cluster, folder, f"--ads-port={port}") as program:
        program.until_ready()
        yield program


async def test_another_authority_takes_over_and_no_proxy_is_left_behind(
    cluster: ApiServer, envoy: Path, tmp_path: Path
) -> None:
    pod, new = Pod(cluster, tmp_path), Authority.create("osm-ca")
    with contextlib.ExitStack() as first:
        program = first.enter_context(controller(cluster, tmp_path / "first"))
        program.until_ready()
        port, old = program.served_port, held(cluster)
        made = await asyncio.to_thread(pod.create, Trust.of(Authority.load(old.root_pem, old.key_pem)), port=port)
        pod.show()
        async with running_envoy(envoy, made, folder=tmp_path) as admin:
            await admin.until("/ready", lambda text: text.startswith("LIVE"), within=10)
            await told(admin, 1)

            # Somebody puts another pair in: all are to trust it, and nothing is signed by it.
            await asyncio.to_thread(change, cluster, {"data": Content(new.root_pem, new.key_pem).data})
            await asyncio.to_thread(until, lambda: pod.roots() == {old.root_pem, new.root_pem}, within=15)
            kept = Content(new.root_pem, new.key_pem, old.root_pem, old.key_pem).data
            await asyncio.to_thread(until, lambda: held(cluster).data == kept, within=15)
            pod.show()
            await told(admin, 2)
            assert program.get("/health/ready") == "Service is ready"
            before = await certified_by(admin, 2)

            # Five minutes later the controller that holds the Lease has it sign.
            await asyncio.to_thread(change, cluster, signing(datetime.now(UTC)))
            await asyncio.to_thread(until, lambda: program.get("/health/ready") == "Service is ready", within=5)
            await admin.until("/certs", lambda text: len(_serials(text) - before) >= 1, within=20)
            mark = Trust.of(new, [old.root_pem]).mark
            await asyncio.to_thread(until, lambda: pod.mark() == mark, within=20)
            pod.show()
            await admin.until("/certs", lambda text: not _serials(text) & before, within=20)

            # Whoever starts anew finds the same, and so does Envoy when it comes back.
            first.close()
            with restarted(cluster, tmp_path / "second", port):
                await _connected(admin)
                await told(admin, 2)
            await asyncio.to_thread(change, cluster, retired())
            with restarted(cluster, tmp_path / "third", port):
                await _connected(admin)
                await asyncio.to_thread(until, lambda: pod.roots() == {new.root_pem}, within=30)
                pod.show()
                await told(admin, 1)
            assert CA_SIGNS_SINCE not in cluster.request("GET", CA)["metadata"].get("annotations", {})


async def _connected(admin: Admin) -> None:
    await admin.until(
        "/stats?filter=connected_state", lambda text: "control_plane.connected_state: 1" in text, within=30
    )
