"""`osm verify control-plane` lists namespaces whose pods are refused, and pods of an earlier version."""

import pytest

from tests.cli.control_plane_manifests import MERGE
from tests.cli.running_control_plane import RunningControlPlane
from tests.cli.verify_faults import verify
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.manifests import install

pytestmark = pytest.mark.kubernetes


def test_namespaces_without_permissions_and_pods_of_an_earlier_version_are_found(
    pristine: RunningControlPlane,
) -> None:
    cluster = pristine.cluster
    uuid = "5d7e2f10-3c44-4e0a-8f6b-0a1b2c3d4e5f"
    metadata = {"name": "old", "namespace": "by-label", "labels": {"osm-proxy-uuid": uuid}}
    spec = {"containers": [{"name": "envoy", "image": "a"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    install(cluster, [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "by-label"}}, pod])
    _label(cluster, "osm")  # only now: the webhook, whose Service does not exist here, refuses pods of the mesh
    try:
        _, found = verify(pristine)
    finally:
        _label(cluster, None)
        cluster.delete(pod)
    assert found["osm/Permissions in the mesh's namespaces"] == [
        "Warning",
        "by-label: the control plane may not keep Secrets there, so new pods are refused",
        "-> osm namespace add by-label --mesh-name osm",
    ]
    assert found["osm/Uuids of sidecars"] == [
        "Warning",
        "by-label/old: not bound to a service account: injected by an earlier version, or without the key "
        "proxy-uuid.key",
        "-> restart these pods, such as with kubectl rollout restart",
    ]


def _label(cluster: ApiServer, mesh: str | None) -> None:
    """Set or remove the mesh's label of the namespace by-label."""
    change = {"metadata": {"labels": {"openservicemesh.io/monitored-by": mesh}}}
    cluster.request("PATCH", "/api/v1/namespaces/by-label", change, content_type=MERGE)
