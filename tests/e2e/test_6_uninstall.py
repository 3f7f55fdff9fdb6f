"""Scene 6: the chart is uninstalled, and nothing of it stands in a pod's way."""

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.images import APPS_IMAGE
from tests.e2e.mesh import Mesh


@pytest.fixture(scope="module")
def uninstalled(mesh: Mesh, cluster: Cluster) -> None:
    """No control plane, but a namespace that still is enrolled."""
    labels = {"openservicemesh.io/monitored-by": "osm"}
    metadata = {"name": "left", "labels": labels, "annotations": {"openservicemesh.io/sidecar-injection": "enabled"}}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    cluster.helm("uninstall")


@pytest.mark.usefixtures("uninstalled")
@pytest.mark.parametrize("namespace", ["default", "left"])
def test_a_plain_pod_is_created_right_after(cluster: Cluster, namespace: str) -> None:
    flags = (f"--namespace={namespace}", f"--image={APPS_IMAGE}", "--image-pull-policy=Never", "--restart=Never")
    cluster.kubectl("run", "plain", *flags, "--command", "--", "python3", "-c", "import time; time.sleep(600)")
    cluster.until(lambda: _words(cluster, namespace)[1:3] == ["1/1", "Running"], what="the pod runs", within=30.0)


@pytest.mark.usefixtures("uninstalled")
def test_no_webhook_is_left(cluster: Cluster) -> None:
    assert not cluster.get("mutatingwebhookconfigurations,validatingwebhookconfigurations")["items"]


def _words(cluster: Cluster, namespace: str) -> list[str]:
    return cluster.kubectl("get", "pod", "plain", f"--namespace={namespace}", "--no-headers").split()
