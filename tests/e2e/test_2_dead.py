"""Scene 2: a controller whose ADS is dead, and kubelet that restarts it. Three are broken at once, each in its way."""

import json
import sys
from collections.abc import Iterator
from typing import Any, Final

import pytest

from osm_probes.mesh.ports import ADS_PORT
from tests.e2e.cluster import Cluster
from tests.e2e.helm import NAMESPACE
from tests.e2e.mesh import CONTROLLER, Mesh, Pod

# 15 s until its heartbeat is missed, 60 s of failing probes, 30 s of grace for what cannot end, and the start.
RESTARTED_WITHIN: Final = 240.0
WAYS: Final = ("stopped", "unheard", "wedged")

# Python runs this before the program: no part of the program has a switch to break it with.
_WEDGE: Final = """
import signal, time
signal.signal(signal.SIGUSR2, lambda *_: time.sleep(3600))
"""
# Until recovery has been given up, and no longer: the next container shall find the port free.
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
def victims(mesh: Mesh, cluster: Cluster) -> Iterator[dict[str, Pod]]:
    """Three controllers, one for each way to break it; how they were before, once kubelet has restarted them all."""
    _mount_wedge(cluster)
    mesh.until_ready()
    pods = dict(zip(WAYS, mesh.pods(CONTROLLER), strict=True))
    node = cluster.node
    node.run("kill", "-STOP", str(pods["stopped"].pid))
    node.run("kill", "-USR2", str(pods["wedged"].pid))
    _take_listener(cluster, pods["unheard"])
    restarted = ["1/1", "Running", "1"]
    cluster.until(
        lambda: all(pod.row()[1:4] == restarted for pod in pods.values()),
        what="kubelet restarts all three controllers, once",
        within=RESTARTED_WITHIN,
    )
    yield pods
    _unmount_wedge(cluster)
    mesh.until_ready()


@pytest.mark.parametrize("way", WAYS)
def test_kubelet_says_that_liveness_failed_with_503(victims: dict[str, Pod], way: str) -> None:
    assert "Liveness probe failed: HTTP probe failed with statuscode: 503" in victims[way].describe()


@pytest.mark.parametrize("way", WAYS)
def test_kubelet_says_that_the_container_is_restarted(victims: dict[str, Pod], way: str) -> None:
    assert "Container osm-controller failed liveness probe, will be restarted" in victims[way].describe()


@pytest.mark.parametrize("way", WAYS)
def test_after_one_restart_it_serves_again(victims: dict[str, Pod], way: str) -> None:
    assert victims[way].row()[1:4] == ["1/1", "Running", "1"]
    assert victims[way].ask("/health/ready").text == "Service is ready"


def test_one_that_can_still_speak_says_why_in_an_event_of_its_own(victims: dict[str, Pod]) -> None:
    said = {event["reason"]: event["message"] for event in victims["unheard"].events()}
    assert said["NotAlive"].startswith("ads: "), said


def _mount_wedge(cluster: Cluster) -> None:
    metadata = {"name": "wedge", "namespace": NAMESPACE}
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"sitecustomize.py": _WEDGE}})
    container = {
        "name": CONTROLLER,
        "env": [{"name": "PYTHONPATH", "value": "/wedge"}],
        "volumeMounts": [{"name": "wedge", "mountPath": "/wedge"}],
    }
    volume = {"name": "wedge", "configMap": {"name": "wedge"}}
    _patch(cluster, replicas=len(WAYS), container=container, volume=volume)


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


def _take_listener(cluster: Cluster, pod: Pod) -> None:
    """Destroy the listener of the ADS and have its port occupied, so that it cannot be bound again."""
    network = ("nsenter", f"--target={pod.pid}", "--net", "--")
    cluster.node.start("occupier", *network, sys.executable, "-c", _OCCUPY)
    listening = ("--tcp", "state", "listening", f"sport = :{ADS_PORT}")

    def taken() -> bool:
        pod.inside("ss", "--kill", *listening)
        held_by = pod.inside("ss", "--no-header", "--processes", *listening)
        return bool(held_by) and CONTROLLER not in held_by

    cluster.until(taken, what="the port of the ADS is another's", within=20.0)
