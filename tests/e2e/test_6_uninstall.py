"""Scenario 6: the chart is uninstalled, and pods can be created immediately afterwards."""

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.images import APPS_IMAGE
from tests.e2e.mesh import Mesh


@pytest.fixture(scope="module")
def uninstalled(mesh: Mesh, cluster: Cluster) -> None:
    """Uninstall the chart while a namespace still has the mesh's label."""
    labels = {"openservicemesh.io/monitored-by": "osm"}
    metadata = {"name": "left", "labels": labels, "annotations": {"openservicemesh.io/sidecar-injection": "enabled"}}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    cluster.helm("uninstall")


@pytest.mark.usefixtures("uninstalled")
@pytest.mark.parametrize("namespace", ["default", "left"])
def test_a_pod_can_be_created_immediately_after_the_uninstallation(cluster: Cluster, namespace: str) -> None:
    flags = (f"--namespace={namespace}", f"--image={APPS_IMAGE}", "--image-pull-policy=Never", "--restart=Never")
    cluster.kubectl("run", "plain", *flags, "--command", "--", "python3", "-c", "import time; time.sleep(600)")
    cluster.until(lambda: _row(cluster, namespace)[1:3] == ["1/1", "Running"], what="the pod runs", within=30.0)


@pytest.mark.usefixtures("uninstalled")
def test_no_webhook_configuration_remains(cluster: Cluster) -> None:
    assert not cluster.get("mutatingwebhookconfigurations,validatingwebhookconfigurations")["items"]


def _row(cluster: Cluster, namespace: str) -> list[str]:
    return cluster.kubectl("get", "pod", "plain", f"--namespace={namespace}", "--no-headers").split()
