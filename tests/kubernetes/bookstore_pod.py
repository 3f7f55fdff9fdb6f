"""The bookstore's pod as the API server and the kubelet know it, and the CA Secret of its mesh."""

import base64
import contextlib
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from osm_probes.admission.pod import bootstrap_secret_name
from osm_probes.cluster.bootstrap_secrets import VALIDITY, CredentialIssuer
from osm_probes.cluster.ca_secret_content import CaSecretContent, decode_ca_secret
from osm_probes.foundation.latest import Latest
from osm_probes.mesh.identity import SIDECAR, Identity, ProxyName
from osm_probes.mesh.labels import (
    CERTIFICATE_EXPIRES,
    MANAGED_BY,
    PROXY_UUID,
    TRUST_FINGERPRINT,
)
from osm_probes.pki.trust import Trust, split_roots
from osm_probes.xds.bootstrap import AdsTarget, build_bootstrap
from osm_probes.xds.sds_files import SdsFiles
from tests.functional.programs import Program
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.controllers import controller

PROXY = ProxyName("7c2d5a64-0b1e-4f3a-9d72-2f8e4c6a9b12", SIDECAR, Identity("bookstore", "bookstore"))
CA = "/api/v1/namespaces/osm-system/secrets/osm-ca-bundle"
LABELS = {PROXY_UUID: PROXY.uuid, MANAGED_BY: "osm-injector"}
SECRETS = "/api/v1/namespaces/bookstore/secrets"


class Pod:
    """The bookstore's pod: its Secret, and the folder that the Secret is mounted at. The test acts as the kubelet."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self.folder = folder / "mount"
        self.folder.mkdir()
        self._server = server
        self._version = 0

    def create(self, trust: Trust, *, port: int, validity: timedelta = VALIDITY) -> bytes:
        """Create its Secret, as the injector does; its bootstrap for an ADS on this port of loopback."""
        credentials = CredentialIssuer(
            Latest(trust), trust_domain="cluster.local", osm_namespace="osm-system", validity=validity
        )
        body = credentials.secret_patch(PROXY)
        body["metadata"] |= {"name": bootstrap_secret_name(PROXY.uuid), "labels": LABELS}
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

    def expires(self) -> float:
        """When the certificate in its Secret expires, by its annotation, in seconds since 1970."""
        secret = self._server.request("GET", f"{SECRETS}/{bootstrap_secret_name(PROXY.uuid)}")
        return datetime.fromisoformat(secret["metadata"]["annotations"][CERTIFICATE_EXPIRES]).timestamp()

    def roots(self) -> set[bytes]:
        """The roots in its Secret."""
        secret = self._server.request("GET", f"{SECRETS}/{bootstrap_secret_name(PROXY.uuid)}")
        (resource,) = json.loads(base64.b64decode(secret["data"]["ads-roots.json"]))["resources"]
        return set(split_roots(base64.b64decode(resource["validation_context"]["trusted_ca"]["inline_bytes"])))


def ca_content(server: ApiServer) -> CaSecretContent:
    """The contents of the CA Secret."""
    return decode_ca_secret(json.dumps(server.request("GET", CA)).encode())


@contextlib.contextmanager
def restarted(cluster: ApiServer, folder: Path, port: int) -> Iterator[Program]:
    """A new controller on the same ADS port."""
    with controller(cluster, folder, f"--ads-port={port}") as program:
        program.until_ready()
        yield program
