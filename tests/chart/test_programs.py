"""Both programs with the chart's flags, permissions and read-only file systems; queried by the chart's own test."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chart.helms import Helm4
from tests.chart.render import NAMESPACE, rendered
from tests.functional.programs import Program, curl, running
from tests.kubernetes.apiserver import ApiServer, running_api_server
from tests.standin import until

pytestmark = [pytest.mark.helm, pytest.mark.kubernetes, pytest.mark.netns]
IN_A_POD = """
mount -t tmpfs none /run
mkdir -p /run/secrets/kubernetes.io
cp -r "$ACCOUNT" /run/secrets/kubernetes.io/serviceaccount
while read -r _ at kind _; do
  case $kind:$at in *:/run/*) ;; ext4:*|tmpfs:*|overlay:*|xfs:*|btrfs:*) mount -o remount,bind,ro "$at" || exit 9;; esac
done </proc/mounts
for folder in "$HOME" /tmp /var/tmp /run /dev/shm .; do ! touch "$folder/written" 2>/dev/null || exit 9; done
exec setpriv --bounding-set=-all --no-new-privs "$@"
"""
"""Executes a command as in the pod: with a service account, read-only file systems, and without capabilities."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A cluster with the chart installed."""
    with running_api_server(tmp_path_factory.mktemp("kubernetes")) as server:
        server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        Helm4(server).install("osm", NAMESPACE, {"meshConfig": {"traffic": {"enableEgress": True}}})
        yield server


@contextlib.contextmanager
def started(name: str, cluster: ApiServer, folder: Path) -> Iterator[Program]:
    """A program, started as its Deployment in the cluster specifies, except that its ports are free ones."""
    deployment = cluster.request("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}")
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    environment = {variable["name"]: variable.get("value", f"{name}-0") for variable in container["env"]}
    environment |= {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(cluster.port)}
    environment["ACCOUNT"] = str(_account(cluster, spec["serviceAccountName"], folder=folder))
    where = ("unshare", "--mount", "sh", "-c", IN_A_POD, "sh")
    with running(name, folder, where=where, source=container["args"], environment=environment) as program:
        # Without the prefix: queries from the test need no mount namespace.
        yield Program(program.process, program.log)


def _account(cluster: ApiServer, name: str, *, folder: Path) -> Path:
    """A folder with a service account's token, namespace and CA certificate, as a kubelet mounts it into a pod."""
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{name}/token"
    answer = cluster.request("POST", path, {"spec": {"expirationSeconds": 600}})
    account = folder / "account"
    account.mkdir(parents=True)
    (account / "token").write_text(answer["status"]["token"])
    (account / "namespace").write_text(NAMESPACE)
    (account / "ca.crt").write_bytes(cluster.pki.root_pem)
    return account


def test_helm_test_passes_while_both_programs_are_healthy_and_fails_otherwise(
    cluster: ApiServer, tmp_path: Path
) -> None:
    with started("osm-controller", cluster, tmp_path / "controller") as controller:
        with started("osm-injector", cluster, tmp_path / "injector") as injector:
            for program in (controller, injector):
                program.until_ready()
                assert "CapEff:\t0000000000000000" in Path(f"/proc/{program.process.pid}/status").read_text()
            webhook = f"https://127.0.0.1:{injector.served_port}/healthz"
            until(lambda: curl(webhook, "-k") == "Health OK", within=10)
            script = _script(controller, injector)
            result = _run(script)
            assert result.returncode == 0, result.stdout
            assert [line.partition(" ")[2] for line in result.stdout.splitlines()] == [
                "200 Service is alive",
                "200 Service is ready",
                "200 Health OK",
                "200 Service is alive",
            ]
            for program in (controller, injector):
                assert "is forbidden" not in program.log.read_text()
        result = _run(script)
        assert result.returncode == 1
        assert "Connection refused" in result.stdout


def _script(controller: Program, injector: Program) -> str:
    """The script that `helm test` runs, with the ports of these two programs."""
    (pod,) = rendered()["tests/probes"]
    container: dict[str, Any] = pod["spec"]["containers"][0]
    assert container["command"] == ["python3", "-c"]
    (script,) = container["args"]
    ports = {
        "osm-controller:9091": controller.http_port,
        "osm-injector:9090": injector.served_port,
        "osm-injector:9091": injector.http_port,
    }
    for name, port in ports.items():
        assert f"//{name}/" in script
        script = script.replace(f"//{name}/", f"//127.0.0.1:{port}/")
    return str(script)


def _run(script: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=False)
