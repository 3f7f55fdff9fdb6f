"""`osm verify control-plane` lists namespaces whose pods are refused, and pods of an earlier version."""

from typing import Any

import pytest

from tests.cli.control_plane_manifests import MERGE
from tests.cli.running_control_plane import RunningControlPlane
from tests.cli.verify_faults import verify
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.manifests import install

pytestmark = pytest.mark.kubernetes
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


def test_namespaces_without_permissions_and_pods_of_an_earlier_version_are_found(
    pristine: RunningControlPlane,
) -> None:
    cluster = pristine.cluster
    label = {"openservicemesh.io/monitored-by": "osm"}
    by_label = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "by-label", "labels": label}}
    uuid = "5d7e2f10-3c44-4e0a-8f6b-0a1b2c3d4e5f"
    metadata = {"name": "old", "namespace": "bookstore", "labels": {"osm-proxy-uuid": uuid}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
    pod["spec"] = {"containers": [{"name": "envoy", "image": "a"}]}
    webhooks = _without_webhook(cluster)
    install(cluster, [by_label, pod])
    try:
        _, found = verify(pristine)
    finally:
        cluster.delete(pod)
        cluster.create(webhooks)
        change = {"metadata": {"labels": {"openservicemesh.io/monitored-by": None}}}
        cluster.request("PATCH", "/api/v1/namespaces/by-label", change, content_type=MERGE)
    assert found["osm/Permissions in the mesh's namespaces"] == [
        "Warning",
        "by-label: the control plane may not keep Secrets there, so new pods are refused",
        "-> osm namespace add by-label --mesh-name osm",
    ]
    assert found["osm/Uuids of sidecars"] == [
        "Warning",
        "bookstore/old: not bound to a service account: injected by an earlier version, or without the key "
        "proxy-uuid.key",
        "-> restart these pods, such as with kubectl rollout restart",
    ]


def _without_webhook(cluster: ApiServer) -> dict[str, Any]:
    """Delete the webhook configuration, so that pods can be created as they are; the manifest to create it again."""
    webhook = cluster.request("GET", f"{WEBHOOKS}/osm-webhook-osm")
    cluster.request("DELETE", f"{WEBHOOKS}/osm-webhook-osm")
    metadata = {"name": webhook["metadata"]["name"], "labels": webhook["metadata"].get("labels", {})}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": metadata,
        "webhooks": webhook["webhooks"],
    }
