"""Scene 4, from the operator's side: what `osm` says of a cluster whose kubelet gives logs and forwards ports."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.mesh import CONTROLLER, INJECTOR, Mesh
from tests.e2e.shop import STORE

pytestmark = pytest.mark.usefixtures("bookstore")
_OSM: Final = Path(sys.executable).with_name("osm")


def osm(cluster: Cluster, *words: str, status: int = 0) -> str:
    """What a command prints that ends with this status."""
    command = cluster.node.network.command(str(_OSM), *words, f"--kubeconfig={cluster.api.kubeconfig}")
    end = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (end.returncode, end.stderr) == (status, ""), end.stdout
    return end.stdout


def test_verify_finds_a_control_plane_without_a_fault(mesh: Mesh, cluster: Cluster) -> None:
    found = dict(_statuses(json.loads(osm(cluster, "verify", "control-plane", "-o", "json"))))
    assert found["Control planes"] in {"Success", "Warning"}
    assert not {"Failure", "Unknown"} & set(found.values())
    for pod in (*mesh.pods(CONTROLLER), *mesh.pods(INJECTOR)):
        parts = [place.rpartition("/")[2] for place in found if f"/Pod {pod.name}/" in place]
        more = ["Webhook certificate"] if pod.program == INJECTOR else []
        assert parts == [
            *("No sidecar", "Running", "Events", "Log", "Probe alive", "Probe ready", "Certificates"),
            *more,
        ]


def test_no_connection_breaks_in_a_program(cluster: Cluster) -> None:
    assert "a connection broke" not in osm(cluster, "verify", "control-plane")


def _statuses(result: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    place = above + result["name"]
    yield place, result.get("status", "Success")
    for part in result.get("results", []):
        yield from _statuses(part, f"{place}/")


def test_probes_answer_through_the_api_server(mesh: Mesh, cluster: Cluster) -> None:
    said = osm(cluster, "probe")
    pods = len(mesh.pods(CONTROLLER)) + len(mesh.pods(INJECTOR))
    assert said.count("  alive: yes") == said.count("  ready: yes") == pods


def test_the_bookstores_proxy_is_connected_and_tells_what_it_has(cluster: Cluster) -> None:
    (pod,) = cluster.get("pods", f"--namespace={STORE}", f"--selector=app={STORE}")["items"]
    name = pod["metadata"]["name"]
    rows = [line.split() for line in osm(cluster, "proxy", "list").splitlines()]
    (row,) = (each for each in rows if each[0] == f"{STORE}/{name}")
    assert row[1] == STORE
    assert "-" not in row[4:9], "a version of each type is accepted"
    assert row[9] == "-", "nothing was refused"
    assert f"{STORE}/bookstore" in osm(cluster, "proxy", "get", "clusters", f"{STORE}/{name}")
    certificates = json.loads(osm(cluster, "proxy", "get", "certs", name, "--namespace", STORE))["certificates"]
    assert certificates
    assert "PRIVATE KEY" not in osm(cluster, "proxy", "get", "config_dump", f"{STORE}/{name}")


def test_a_bug_report_has_the_logs(mesh: Mesh, cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "report.tar.gz"
    osm(cluster, "support", "bug-report", "--output", str(file))
    names = subprocess.run(["tar", "-tzf", str(file)], capture_output=True, text=True, check=True).stdout.splitlines()
    for pod in mesh.pods(CONTROLLER):
        assert f"osm-bug-report/osm-system/{pod.name}/osm-controller.log" in names
