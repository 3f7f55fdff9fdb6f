"""`osm probe` of running programs, through the pod proxy of a real API server."""

import contextlib
import http.server
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from osm_probes import __version__
from tests.cli.command_result import CommandResult, run_osm
from tests.cli.control_plane_manifests import deployment, namespace, pod
from tests.cli.running_control_plane import RunningControlPlane
from tests.cli.verify_faults import grant
from tests.kubernetes.manifests import install
from tests.standin import until

pytestmark = pytest.mark.kubernetes


def without_times(result: CommandResult) -> CommandResult:
    """Replace each time by TIME."""
    return CommandResult(result.status, re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", result.out), result.err)


HEALTHY = """\
osm-system/osm-controller-0
  alive: yes, since TIME
    [+]ads ok
  ready: yes, since TIME
    [+]ads ok
    [+]mesh ok
    [+]updates ok
    [+]certificates ok
    [+]capacity ok
    [+]draining ok
osm-system/osm-injector-0
  alive: yes, since TIME
    [+]webhook ok
  ready: yes, since TIME
    [+]certificate ok
    [+]bundle ok
    [+]review ok
    [+]configuration ok
    [+]bootstraps ok
    [+]api-server ok
"""


def test_the_probes_of_a_healthy_control_plane_succeed(control_plane: RunningControlPlane) -> None:
    assert without_times(run_osm("probe", cluster=control_plane.cluster)) == CommandResult(0, HEALTHY, "")
    assert (
        without_times(run_osm("probe", "injector", cluster=control_plane.cluster)).out
        == HEALTHY[HEALTHY.index("osm-system/osm-inj") :]
    )


def test_mesh_list_shows_the_supported_smi_versions(control_plane: RunningControlPlane) -> None:
    assert run_osm("mesh", "list", cluster=control_plane.cluster).out.splitlines()[2].split() == [
        *("osm", "osm-system", "osm-controller-0", __version__),
        "HTTPRouteGroup:specs.smi-spec.io/v1alpha4,TCPRoute:specs.smi-spec.io/v1alpha4,"
        "TrafficSplit:split.smi-spec.io/v1alpha2,TrafficTarget:access.smi-spec.io/v1alpha3",
    ]


def test_a_stopped_controller_is_not_ready_with_a_reason(control_plane: RunningControlPlane) -> None:
    controller = control_plane.programs["osm-controller-0"].process
    controller.send_signal(signal.SIGSTOP)
    try:
        # The judge may reuse a result of the canary for a moment.
        until(lambda: run_osm("probe", "controller", cluster=control_plane.cluster).status == 1, within=10)
        result = without_times(run_osm("probe", "controller", cluster=control_plane.cluster))
    finally:
        controller.send_signal(signal.SIGCONT)
    assert re.search(r"  ready: no(, since TIME)?\n    \[-\]ads failed: no TLS handshake from 127", result.out)
    control_plane.programs["osm-controller-0"].until_ready()


def test_a_pod_without_a_listening_port_is_no_response(control_plane: RunningControlPlane) -> None:
    silent = pod("osm-controller-1", app="osm-controller", namespace="osm-system", mesh="osm", port=1)
    install(control_plane.cluster, [silent])
    try:
        result = run_osm("probe", "controller", cluster=control_plane.cluster)
    finally:
        control_plane.cluster.delete(silent)
    assert result.status == 1
    assert re.search(
        r"osm-controller-1\n"
        r"  alive: no response: error trying to reach service: dial tcp \S+ connect: connection refused\n"
        r"  ready: no response: ",
        result.out,
    )


def test_verdicts_are_available_as_json(control_plane: RunningControlPlane) -> None:
    pods = json.loads(run_osm("probe", "-o", "json", cluster=control_plane.cluster).out)
    assert [(pod["pod"], [answer["verdict"]["healthy"] for answer in pod["probes"]]) for pod in pods] == [
        ("osm-controller-0", [True, True]),
        ("osm-injector-0", [True, True]),
    ]


def test_a_forbidden_probe_is_unknown_and_names_the_missing_permission(control_plane: RunningControlPlane) -> None:
    rules = [{"apiGroups": ["", "apps"], "resources": ["pods", "deployments"], "verbs": ["list"]}]
    grant(control_plane.cluster, "onlooker", rules)
    user = str(control_plane.cluster.kubeconfig_for("onlooker"))
    result = run_osm("probe", "controller", "--kubeconfig", user)
    assert result.status == 2
    assert "alive: unknown: " in result.out
    assert "its user must be allowed to get pods/proxy" in result.out


def test_a_namespace_without_pods_is_an_error(
    control_plane: RunningControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "Error: no pods of osm-controller or osm-injector found in namespace default: see osm mesh list\n"
    assert run_osm("probe", "--osm-namespace", "default", cluster=control_plane.cluster) == CommandResult(1, "", text)
    assert run_osm("--osm-namespace", "default", "probe", cluster=control_plane.cluster) == CommandResult(1, "", text)
    monkeypatch.setenv("OSM_NAMESPACE", "default")
    assert run_osm("probe", cluster=control_plane.cluster) == CommandResult(1, "", text)
    assert run_osm("probe", "--osm-namespace", "osm-system", cluster=control_plane.cluster).status == 0
    monkeypatch.setenv("KUBECONFIG", str(control_plane.cluster.kubeconfig))
    assert run_osm("probe", "--context", "test").err == text
    other = run_osm("probe", "--context", "other").err
    assert other == f"Error: --kubeconfig {control_plane.cluster.kubeconfig}: Context 'other' not found\n"


@contextlib.contextmanager
def watching(control_plane: RunningControlPlane, folder: Path, *words: str) -> Iterator[Path]:
    """Run `osm probe controller --watch` until the block ends with Ctrl-C; yield the file with its output."""
    # A shell's background jobs, and their children, ignore SIGINT: restore its default action.
    command = [
        "env",
        "--default-signal=INT",
        str(Path(sys.executable).with_name("osm")),
        "probe",
        "controller",
        "--watch",
        *words,
    ]
    out = folder / "out"
    with out.open("wb") as file:
        process = subprocess.Popen([*command, "--kubeconfig", str(control_plane.cluster.kubeconfig)], stdout=file)
    with process:
        try:
            yield out
            process.send_signal(signal.SIGINT)
            assert process.wait(5) == 130
        finally:
            process.kill()


def test_a_watch_prints_changes(control_plane: RunningControlPlane, tmp_path: Path) -> None:
    controller = control_plane.programs["osm-controller-0"].process
    with watching(control_plane, tmp_path) as out:
        until(lambda: len(out.read_text().splitlines()) == 2, within=15)
        controller.send_signal(signal.SIGSTOP)
        try:
            until(lambda: "ready: no (ads: " in out.read_text(), within=15)
        finally:
            controller.send_signal(signal.SIGCONT)
        until(lambda: len(out.read_text().splitlines()) == 4, within=15)
    lines = [re.sub(r"^\S+ \S+  osm-controller-0  ", "", line) for line in out.read_text().splitlines()]
    assert [re.sub(r" \(.*\)", "", line) for line in lines] == ["alive: yes", "ready: yes", "ready: no", "ready: yes"]


@contextlib.contextmanager
def plain_text_program() -> Iterator[int]:
    """Run an HTTP server with plain-text probes, like upstream's controller; yield its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = {
                "/health/alive": (200, b"Service is alive"),
                "/health/ready": (503, b"not ready"),
                "/version": (200, b'{"version":"v0.8.4"}'),
            }.get(self.path, (404, b"404 page not found"))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def test_probes_without_json_are_read_by_their_http_status(control_plane: RunningControlPlane) -> None:
    with plain_text_program() as port:
        other_namespace = "osm-upstream"
        document = pod("osm-controller-9", app="osm-controller", namespace=other_namespace, mesh="upstream")
        container = document["spec"]["containers"][0]
        container["ports"] = [{"name": "probes", "containerPort": port}]
        container["livenessProbe"]["httpGet"]["port"] = "probes"
        documents = [deployment("osm-controller", namespace=other_namespace, mesh="upstream", version=""), document]
        install(control_plane.cluster, [namespace(other_namespace), *documents])
        try:
            result = run_osm("probe", "--osm-namespace", other_namespace, cluster=control_plane.cluster)
            meshes = run_osm("mesh", "list", cluster=control_plane.cluster).out.splitlines()
        finally:
            for document in documents:
                control_plane.cluster.delete(document)
    assert result == CommandResult(1, "osm-upstream/osm-controller-9\n  alive: yes\n  ready: no\n", "")
    assert meshes[-1].split() == ["upstream", "osm-upstream", "osm-controller-9", "v0.8.4", "Unknown"]


def test_a_watch_with_json_reports_new_and_removed_pods(control_plane: RunningControlPlane, tmp_path: Path) -> None:
    silent = pod("osm-controller-1", app="osm-controller", namespace="osm-system", mesh="osm", port=1)
    with watching(control_plane, tmp_path, "-o", "json") as out:
        until(lambda: len(out.read_text().splitlines()) == 2, within=15)
        install(control_plane.cluster, [silent])
        try:
            until(lambda: len(out.read_text().splitlines()) == 4, within=15)
        finally:
            control_plane.cluster.delete(silent)
        until(lambda: len(out.read_text().splitlines()) == 6, within=15)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(line["pod"], line["probe"], "verdict" in line, line.get("gone", False)) for line in lines] == [
        ("osm-controller-0", "alive", True, False),
        ("osm-controller-0", "ready", True, False),
        ("osm-controller-1", "alive", False, False),
        ("osm-controller-1", "ready", False, False),
        ("osm-controller-1", "alive", False, True),
        ("osm-controller-1", "ready", False, True),
    ]
