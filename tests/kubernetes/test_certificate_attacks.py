"""A user with permissions in one namespace tries to get a certificate of the mesh."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.connect import connect
from osm_probes.kube.kind import PODS, SECRETS
from osm_probes.mesh.identity import SIDECAR, Identity, ProxyName
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.controllers import PROXY, cluster, controller
from tests.standin import until

__all__ = ["cluster"]
pytestmark = pytest.mark.kubernetes
OUTSIDE = "outside"
VICTIM = PROXY.uuid
OTHER = "11111111-2222-4333-8444-555555555555"
LABELS = [OTHER, VICTIM, f"{OTHER}.canary.x", f"{VICTIM}.sidecar.bookstore", "x"]


@pytest.fixture
def user(cluster: ApiServer) -> Path:
    """The kubeconfig of a user who may do everything in a namespace outside of the mesh, and nothing elsewhere."""
    group = "rbac.authorization.k8s.io"
    meta = {"name": "mallory", "namespace": OUTSIDE}
    rules = [{"apiGroups": [""], "resources": ["*"], "verbs": ["*"]}]
    subject = {"kind": "User", "apiGroup": group, "name": "mallory"}
    role = {"apiGroup": group, "kind": "Role", "name": "mallory"}
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OUTSIDE}})
    cluster.create({"apiVersion": f"{group}/v1", "kind": "Role", "metadata": meta, "rules": rules})
    binding = {"kind": "RoleBinding", "metadata": meta, "roleRef": role, "subjects": [subject]}
    cluster.create({"apiVersion": f"{group}/v1", **binding})
    return cluster.kubeconfig_for("mallory")


async def attack(client: KubernetesClient, namespace: str, label: str, **metadata: Any) -> str:
    """Create a pod with this label and an empty Secret for it; the Secret's name."""
    name = f"envoy-bootstrap-config-{label}"
    labels = {"osm-proxy-uuid": label, "app.kubernetes.io/managed-by": "osm-injector"}
    spec = {"serviceAccountName": "default", "containers": [{"name": "a", "image": "a"}]}
    pod = {"metadata": {"generateName": "pod-", "labels": labels}, "spec": spec}
    await client.create(PODS, pod, namespace=namespace)
    body = {"metadata": {"name": name, "labels": labels, **metadata}}
    await client.create(SECRETS, body, namespace=namespace)
    return name


async def test_no_certificate_is_issued_outside_the_mesh(cluster: ApiServer, user: Path, tmp_path: Path) -> None:
    with controller(cluster, tmp_path) as program:
        await asyncio.to_thread(program.until_ready)
        async with connect(str(user)) as client:
            names = [await attack(client, OUTSIDE, label) for label in LABELS]
            # A Secret of the mesh, made after the attack, shows when the controller has seen it.
            await asyncio.to_thread(_until_a_real_secret_is_renewed, cluster)
            await asyncio.sleep(2)
            for name in names:
                secret = json.loads(await client.read(SECRETS, name, namespace=OUTSIDE))
                assert "data" not in secret
                assert "ownerReferences" not in secret["metadata"]


def _until_a_real_secret_is_renewed(cluster: ApiServer) -> None:
    """Store the bookstore's Secret as an earlier version did, and wait until it has a certificate."""
    name = f"envoy-bootstrap-config-{VICTIM}"
    labels = {"osm-proxy-uuid": VICTIM, "app.kubernetes.io/managed-by": "osm-injector"}
    metadata = {"name": name, "namespace": "bookstore", "labels": labels}
    cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
    path = f"/api/v1/namespaces/bookstore/secrets/{name}"
    until(lambda: "data" in cluster.request("GET", path), within=20)


def test_the_label_of_the_attack_was_the_canarys_name() -> None:
    """What the certificate's name would have been: the name of a canary in earlier versions."""
    name = ProxyName(f"{OTHER}.canary.x", SIDECAR, Identity(OUTSIDE, "default")).common_name("cluster.local")
    assert name == f"{OTHER}.canary.x.sidecar.default.{OUTSIDE}.cluster.local"
