"""`osm probe` of real programs, through a real API server's pod proxy."""

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
from tests.cli.command import Said, osm
from tests.cli.installed import deployment, namespace, pod
from tests.cli.live import Live
from tests.kubernetes.manifests import install
from tests.standin import until

pytestmark = pytest.mark.kubernetes


def undated(said: Said) -> Said:
    """The same without times."""
    return Said(said.status, re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", said.out), said.err)


WELL = """\
osm-system/osm-controller-0
  alive: yes, since TIME
    [+]ads ok
  ready: yes, since TIME
    [+]ads ok
    [+]mesh ok
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
"""


def test_a_healthy_control_plane_says_yes(live: Live) -> None:
    assert undated(osm("probe", cluster=live.cluster)) == Said(0, WELL, "")
    assert undated(osm("probe", "injector", cluster=live.cluster)).out == WELL[WELL.index("osm-system/osm-inj") :]


def test_meshes_know_what_they_support_of_smi(live: Live) -> None:
    assert osm("mesh", "list", cluster=live.cluster).out.splitlines()[2].split() == [
        *("osm", "osm-system", "osm-controller-0", __version__),
        "HTTPRouteGroup:specs.smi-spec.io/v1alpha4,TCPRoute:specs.smi-spec.io/v1alpha4,"
        "TrafficSplit:split.smi-spec.io/v1alpha2,TrafficTarget:access.smi-spec.io/v1alpha3",
    ]


def test_a_stopped_controller_is_not_ready_and_the_reason_is_told(live: Live) -> None:
    controller = live.programs["osm-controller-0"].process
    controller.send_signal(signal.SIGSTOP)
    try:
        # An answer of a moment ago is an answer still.
        until(lambda: osm("probe", "controller", cluster=live.cluster).status == 1, within=10)
        said = undated(osm("probe", "controller", cluster=live.cluster))
    finally:
        controller.send_signal(signal.SIGCONT)
    assert re.search(r"  ready: no(, since TIME)?\n    \[-\]ads failed: no TLS handshake from 127", said.out)
    live.programs["osm-controller-0"].until_ready()


def test_a_pod_that_nobody_answers_for_is_no_response(live: Live) -> None:
    silent = pod("osm-controller-1", app="osm-controller", home="osm-system", mesh="osm", port=1)
    install(live.cluster, [silent])
    try:
        said = osm("probe", "controller", cluster=live.cluster)
    finally:
        live.cluster.delete(silent)
    assert said.status == 1
    assert re.search(
        r"osm-controller-1\n"
        r"  alive: no response: error trying to reach service: dial tcp \S+ connect: connection refused\n"
        r"  ready: no response: ",
        said.out,
    )


def test_programs_get_the_verdicts_as_json(live: Live) -> None:
    found = json.loads(osm("probe", "-o", "json", cluster=live.cluster).out)
    assert [(each["pod"], [answer["verdict"]["healthy"] for answer in each["probes"]]) for each in found] == [
        ("osm-controller-0", [True, True]),
        ("osm-injector-0", [True, True]),
    ]


def test_who_may_not_ask_is_told_which_permission_is_missing(live: Live) -> None:
    rule = {"apiGroups": ["", "apps"], "resources": ["pods", "deployments"], "verbs": ["list"]}
    meta = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "looks"}}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "looks"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "onlooker"}
    live.cluster.create({**meta, "kind": "ClusterRole", "rules": [rule]})
    live.cluster.create({**meta, "kind": "ClusterRoleBinding", "roleRef": role, "subjects": [subject]})
    user = str(live.cluster.kubeconfig_for("onlooker"))
    said = osm("probe", "controller", "--kubeconfig", user)
    assert said.status == 2
    assert "alive: unknown: " in said.out
    assert "its user must be allowed to get pods/proxy" in said.out


def test_without_pods_there_is_nobody_to_ask(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "Error: no pods of osm-controller or osm-injector in namespace default: see osm mesh list\n"
    assert osm("probe", "--osm-namespace", "default", cluster=live.cluster) == Said(1, "", text)
    assert osm("--osm-namespace", "default", "probe", cluster=live.cluster) == Said(1, "", text)
    monkeypatch.setenv("OSM_NAMESPACE", "default")
    assert osm("probe", cluster=live.cluster) == Said(1, "", text)
    assert osm("probe", "--osm-namespace", "osm-system", cluster=live.cluster).status == 0
    monkeypatch.setenv("KUBECONFIG", str(live.cluster.kubeconfig))
    assert osm("probe", "--context", "test").err == text
    other = osm("probe", "--context", "other").err
    assert other == f"Error: --kubeconfig {live.cluster.kubeconfig}: Context 'other' not found\n"


@contextlib.contextmanager
def watching(live: Live, folder: Path, *words: str) -> Iterator[Path]:
    """The file with what a watch of controllers says; Ctrl-C ends it."""
    # What a shell starts in the background ignores SIGINT, and hands that on.
    heard = ["env", "--default-signal=INT"]
    command = [*heard, str(Path(sys.executable).with_name("osm")), "probe", "controller", "--watch", *words]
    out = folder / "out"
    with out.open("wb") as file:
        process = subprocess.Popen([*command, "--kubeconfig", str(live.cluster.kubeconfig)], stdout=file)
    with process:
        try:
            yield out
            process.send_signal(signal.SIGINT)
            assert process.wait(5) == 130
        finally:
            process.kill()


def test_a_watch_says_what_changes(live: Live, tmp_path: Path) -> None:
    controller = live.programs["osm-controller-0"].process
    with watching(live, tmp_path) as out:
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
def of_another_make() -> Iterator[int]:
    """A program that knows neither JSON nor reasons: its port on all addresses."""

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


def test_a_control_plane_of_another_make_is_understood_by_its_status(live: Live) -> None:
    with of_another_make() as port:
        home = "osm-elder"
        document = pod("osm-controller-9", app="osm-controller", home=home, mesh="elder")
        container = document["spec"]["containers"][0]
        container["ports"] = [{"name": "probes", "containerPort": port}]
        container["livenessProbe"]["httpGet"]["port"] = "probes"
        elder = [deployment("osm-controller", home=home, mesh="elder", version=""), document]
        install(live.cluster, [namespace(home), *elder])
        try:
            said = osm("probe", "--osm-namespace", home, cluster=live.cluster)
            meshes = osm("mesh", "list", cluster=live.cluster).out.splitlines()
        finally:
            for each in elder:
                live.cluster.delete(each)
    assert said == Said(1, "osm-elder/osm-controller-9\n  alive: yes\n  ready: no\n", "")
    assert meshes[2].split() == ["elder", "osm-elder", "osm-controller-9", "v0.8.4", "Unknown"]


def test_a_watch_tells_programs_of_pods_that_come_and_go(live: Live, tmp_path: Path) -> None:
    silent = pod("osm-controller-1", app="osm-controller", home="osm-system", mesh="osm", port=1)
    with watching(live, tmp_path, "-o", "json") as out:
        until(lambda: len(out.read_text().splitlines()) == 2, within=15)
        install(live.cluster, [silent])
        try:
            until(lambda: len(out.read_text().splitlines()) == 4, within=15)
        finally:
            live.cluster.delete(silent)
        until(lambda: len(out.read_text().splitlines()) == 6, within=15)
    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(each["pod"], each["probe"], "verdict" in each, each.get("gone", False)) for each in told] == [
        ("osm-controller-0", "alive", True, False),
        ("osm-controller-0", "ready", True, False),
        ("osm-controller-1", "alive", False, False),
        ("osm-controller-1", "ready", False, False),
        ("osm-controller-1", "alive", False, True),
        ("osm-controller-1", "ready", False, True),
    ]
