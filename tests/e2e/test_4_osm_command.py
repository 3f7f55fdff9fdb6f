"""Scenario 4, for operators: the `osm` command in a cluster whose kubelet serves logs and forwards ports."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.mesh import CONTROLLER, INJECTOR, Mesh
from tests.e2e.osm_command import osm
from tests.e2e.shop import STORE

pytestmark = pytest.mark.usefixtures("bookstore")


def test_verify_reports_no_failure_of_a_healthy_control_plane(mesh: Mesh, cluster: Cluster) -> None:
    statuses = dict(_statuses(json.loads(osm(cluster, "verify", "control-plane", "-o", "json"))))
    assert statuses["Control planes"] in {"Success", "Warning"}
    assert not {"Failure", "Unknown"} & set(statuses.values())
    for pod in (*mesh.pods(CONTROLLER), *mesh.pods(INJECTOR)):
        checks = [path.rpartition("/")[2] for path in statuses if f"/Pod {pod.name}/" in path]
        more = ["Webhook certificate"] if pod.program == INJECTOR else ["Proxies"]
        assert checks == [
            *("No sidecar", "Running", "Events", "Log", "Probe alive", "Probe ready", "Certificates"),
            *more,
        ]


def test_verify_reports_no_broken_connections(cluster: Cluster) -> None:
    assert "a connection failed" not in osm(cluster, "verify", "control-plane")


def _statuses(result: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    path = prefix + result["name"]
    yield path, result.get("status", "Success")
    for part in result.get("results", []):
        yield from _statuses(part, f"{path}/")


def test_osm_probe_gets_responses_through_the_api_server(mesh: Mesh, cluster: Cluster) -> None:
    output = osm(cluster, "probe")
    pods = len(mesh.pods(CONTROLLER)) + len(mesh.pods(INJECTOR))
    assert output.count("  alive: yes") == output.count("  ready: yes") == pods


def test_osm_proxy_lists_the_connected_bookstore_and_gets_its_configuration(cluster: Cluster) -> None:
    (pod,) = cluster.get("pods", f"--namespace={STORE}", f"--selector=app={STORE}")["items"]
    name = pod["metadata"]["name"]
    rows = [line.split() for line in osm(cluster, "proxy", "list").splitlines()]
    (row,) = (row for row in rows if row[0] == f"{STORE}/{name}")
    assert row[1] == STORE
    assert "-" not in row[4:9], "the proxy accepted a version of each type"
    assert row[9:11] == ["-", "-"], "the proxy has no problem, and rejected nothing"
    assert f"{STORE}/bookstore" in osm(cluster, "proxy", "get", "clusters", f"{STORE}/{name}")
    certificates = json.loads(osm(cluster, "proxy", "get", "certs", name, "--namespace", STORE))["certificates"]
    assert certificates
    assert "PRIVATE KEY" not in osm(cluster, "proxy", "get", "config_dump", f"{STORE}/{name}")


def test_names_of_proxies_are_on_the_debug_port_which_other_pods_cannot_reach(mesh: Mesh, cluster: Cluster) -> None:
    pod = mesh.pods(CONTROLLER)[0]
    assert pod.ask("/debug/proxies").status == 404
    assert pod.inside("curl", "-s", "http://127.0.0.1:9092/debug/proxies").startswith('{"count":')
    with pytest.raises(OSError, match="refused"):
        cluster.node.network.request(f"http://{pod.status()['podIP']}:9092/debug/proxies")


def test_a_bug_report_contains_the_logs(mesh: Mesh, cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "report.tar.gz"
    osm(cluster, "support", "bug-report", "--output", str(file))
    names = subprocess.run(["tar", "-tzf", str(file)], capture_output=True, text=True, check=True).stdout.splitlines()
    for pod in mesh.pods(CONTROLLER):
        assert f"osm-bug-report/osm-system/{pod.name}/osm-controller.log" in names
