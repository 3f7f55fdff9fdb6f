"""Scenario 1: the chart is installed; both programs become ready and give the documented responses."""

import re
import subprocess

import pytest

from demo.processes import eventually, running
from tests.e2e.cluster import Cluster
from tests.e2e.errors import ClusterError
from tests.e2e.helm import NAMESPACE
from tests.e2e.mesh import CONTROLLER, INJECTOR, Mesh
from tests.e2e.node import run_within

ALIVE = (
    b"HTTP/1.1 200 OK\r\nDate: <date>\r\nContent-Length: 16\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    b"Service is alive"
)


def test_all_pods_of_both_programs_are_ready(mesh: Mesh) -> None:
    rows = {pod.program: pod.row()[1:4] for program in (CONTROLLER, INJECTOR) for pod in mesh.pods(program)}
    assert rows == {CONTROLLER: ["1/1", "Running", "0"], INJECTOR: ["1/1", "Running", "0"]}


def test_curl_gets_the_documented_response_through_a_forwarded_port(mesh: Mesh, cluster: Cluster) -> None:
    selection = ("pods", f"--namespace={NAMESPACE}", f"--selector=app={CONTROLLER}")
    name = cluster.kubectl("get", *selection, "--output=jsonpath={.items[0].metadata.name}")
    forward = cluster.command("port-forward", f"--namespace={NAMESPACE}", name, "9091")
    curl = cluster.node.network.command("curl", "--silent", "--include", "localhost:9091/health/alive")
    with running(forward, log=cluster.node.state / "logs" / "port-forward.log") as process:
        eventually(lambda: "9091" in process.log.read_text(), what="the port is forwarded", within=20, process=process)
        output = subprocess.run(curl, capture_output=True, check=True, timeout=20).stdout
    assert re.sub(rb"Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", b"Date: <date>", output) == ALIVE


@pytest.mark.usefixtures("mesh")
def test_helm_test_passes(cluster: Cluster) -> None:
    cluster.helm("test")


def test_the_namespace_enforces_the_restricted_pod_security_standard(mesh: Mesh, cluster: Cluster) -> None:
    command = cluster.command("run", "loose", f"--namespace={NAMESPACE}", "--image=localhost/pause:1")
    with pytest.raises(ClusterError, match='violates PodSecurity "restricted'):
        run_within(command, within=20)
