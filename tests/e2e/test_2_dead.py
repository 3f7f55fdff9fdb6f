"""Scenario 2: kubelet restarts a controller whose ADS is dead. Three controllers are broken at once, in three ways."""

import json
import sys
from collections.abc import Iterator
from typing import Any, Final

import pytest

from osm_probes.mesh.ports import ADS_PORT
from tests.e2e.cluster import Cluster
from tests.e2e.helm import NAMESPACE
from tests.e2e.mesh import CONTROLLER, Mesh, Pod

# 15 s heartbeat limit, 60 s of failing probes, 30 s termination grace period for a process that hangs, and the start.
RESTARTED_WITHIN: Final = 240.0
FAULTS: Final = ("stopped", "deaf", "hung")

# Python imports this module (sitecustomize) before the program, which has no test hooks of its own.
_HANG: Final = """
import signal, time
signal.signal(signal.SIGUSR2, lambda *_: time.sleep(3600))
"""
# Long enough that the program gives up, and short enough that the restarted container finds the port free.
_OCCUPY: Final = f"""
import socket, time
end = time.monotonic() + 30
while time.monotonic() < end:
    try:
        listener = socket.create_server(("", {ADS_PORT}))
        time.sleep(max(0.0, end - time.monotonic()))
    except OSError:
        time.sleep(0.0005)
"""


@pytest.fixture(scope="module")
def broken_pods(mesh: Mesh, cluster: Cluster) -> Iterator[dict[str, Pod]]:
    """Three broken controllers, one for each fault; yielded after kubelet has restarted all of them."""
    _mount_wedge(cluster)
    mesh.until_ready()
    pods = dict(zip(FAULTS, mesh.pods(CONTROLLER), strict=True))
    node = cluster.node
    node.run("kill", "-STOP", str(pods["stopped"].pid))
    node.run("kill", "-USR2", str(pods["hung"].pid))
    _occupy_ads_port(cluster, pods["deaf"])
    restarted = ["1/1", "Running", "1"]
    cluster.until(
        lambda: all(pod.row()[1:4] == restarted for pod in pods.values()),
        what="kubelet restarts all three controllers, once",
        within=RESTARTED_WITHIN,
    )
    yield pods
    _unmount_wedge(cluster)
    mesh.until_ready()


@pytest.mark.parametrize("fault", FAULTS)
def test_kubelet_reports_that_liveness_failed_with_503(broken_pods: dict[str, Pod], fault: str) -> None:
    assert "Liveness probe failed: HTTP probe failed with statuscode: 503" in broken_pods[fault].describe()


@pytest.mark.parametrize("fault", FAULTS)
def test_kubelet_reports_that_the_container_will_be_restarted(broken_pods: dict[str, Pod], fault: str) -> None:
    assert "Container osm-controller failed liveness probe, will be restarted" in broken_pods[fault].describe()


@pytest.mark.parametrize("fault", FAULTS)
def test_the_controller_is_ready_after_one_restart(broken_pods: dict[str, Pod], fault: str) -> None:
    assert broken_pods[fault].row()[1:4] == ["1/1", "Running", "1"]
    assert broken_pods[fault].ask("/health/ready").text == "Service is ready"


def test_a_controller_that_is_not_hung_reports_the_reason_in_its_own_event(broken_pods: dict[str, Pod]) -> None:
    messages = {event["reason"]: event["message"] for event in broken_pods["deaf"].events()}
    assert messages["NotAlive"].startswith("ads: "), messages


def _mount_wedge(cluster: Cluster) -> None:
    metadata = {"name": "wedge", "namespace": NAMESPACE}
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"sitecustomize.py": _HANG}})
    container = {
        "name": CONTROLLER,
        "env": [{"name": "PYTHONPATH", "value": "/wedge"}],
        "volumeMounts": [{"name": "wedge", "mountPath": "/wedge"}],
    }
    volume = {"name": "wedge", "configMap": {"name": "wedge"}}
    _patch(cluster, replicas=len(FAULTS), container=container, volume=volume)


def _unmount_wedge(cluster: Cluster) -> None:
    container = {
        "name": CONTROLLER,
        "env": [{"name": "PYTHONPATH", "$patch": "delete"}],
        "volumeMounts": [{"mountPath": "/wedge", "$patch": "delete"}],
    }
    _patch(cluster, replicas=2, container=container, volume={"name": "wedge", "$patch": "delete"})


def _patch(cluster: Cluster, *, replicas: int, container: dict[str, Any], volume: dict[str, Any]) -> None:
    pod = {"containers": [container], "volumes": [volume]}
    patch = json.dumps({"spec": {"replicas": replicas, "template": {"spec": pod}}})
    cluster.kubectl("patch", "deployment", CONTROLLER, f"--namespace={NAMESPACE}", f"--patch={patch}")


def _occupy_ads_port(cluster: Cluster, pod: Pod) -> None:
    """Destroy the ADS's listening socket and occupy its port, so that the controller cannot listen again."""
    network = ("nsenter", f"--target={pod.pid}", "--net", "--")
    cluster.node.start("occupier", *network, sys.executable, "-c", _OCCUPY)
    listening = ("--tcp", "state", "listening", f"sport = :{ADS_PORT}")

    def port_occupied() -> bool:
        pod.inside("ss", "--kill", *listening)
        listeners = pod.inside("ss", "--no-header", "--processes", *listening)
        return bool(listeners) and CONTROLLER not in listeners

    cluster.until(port_occupied, what="another process has the ADS port", within=20.0)
