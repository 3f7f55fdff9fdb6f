"""osm-injector as a process, asked over real sockets."""

import base64
import json
import signal
import socket
from pathlib import Path

from tests.functional.programs import BOOKSTORE, Program, curl, running
from tests.standin import until

_POD = {"metadata": {"name": "new"}, "spec": {"containers": [{"name": "app", "image": "app"}]}}


def _review(namespace: str) -> str:
    request = {
        "uid": "1",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "operation": "CREATE",
        "namespace": namespace,
        "object": _POD,
    }
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})


def _answer(program: Program, folder: Path, namespace: str) -> dict[str, object]:
    """What the API server would get: it trusts the mesh's root and asks for the service's name."""
    answer = curl(
        f"https://osm-injector.osm-system.svc:{program.served_port}/mutate-pod-creation",
        *("--resolve", f"osm-injector.osm-system.svc:{program.served_port}:127.0.0.1"),
        *("--cacert", str(folder / "ca" / "ca.crt")),
        *("--data", _review(namespace), "--header", "Content-Type: application/json"),
    )
    response: dict[str, object] = json.loads(answer)["response"]
    return response


def test_a_pod_of_the_mesh_gets_a_sidecar_and_another_does_not(tmp_path: Path) -> None:
    with running("osm-injector", tmp_path) as program:
        program.until_ready()
        manifest = tmp_path / "mesh" / "shop.yaml"
        manifest.write_text(
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n"
            "  labels: {openservicemesh.io/monitored-by: osm}\n"
            "  annotations: {openservicemesh.io/sidecar-injection: enabled}\n"
        )
        until(lambda: "patch" in _answer(program, tmp_path, "shop"), within=5)
        response = _answer(program, tmp_path, "shop")
        assert response["allowed"] is True
        patch = json.loads(base64.b64decode(str(response["patch"])))
        assert '"envoy"' in json.dumps(patch)
        assert _answer(program, tmp_path, "elsewhere") == {"uid": "1", "allowed": True}
        assert 'osm_admission_webhook_response_total{kind="Pod",success="true"}' in program.get("/metrics")


def test_its_health_is_told_on_both_ports_over_tls_and_plain(tmp_path: Path) -> None:
    with running("osm-injector", tmp_path) as program:
        program.until_ready()
        port = program.served_port
        assert curl(f"https://127.0.0.1:{port}/healthz", "-k") == "Health OK"
        assert curl(f"http://127.0.0.1:{port}/healthz") == "Health OK"
        assert curl(f"http://127.0.0.1:{port}/metrics") == "404 page not found"
        assert program.get("/healthz") == "Health OK"
        assert program.get("/health/alive") == "Service is alive"
        assert program.get("/version") == '{"version":"0.1.0"}'


def test_without_a_readable_mesh_it_cannot_inject_and_says_so_on_both_ports(tmp_path: Path) -> None:
    mesh = tmp_path / "mesh"
    mesh.mkdir()
    (mesh / "mesh.yaml").write_text("kind: [")
    with running("osm-injector", tmp_path, mesh_dir=mesh) as program:
        until(lambda: program.get("/health/alive") == "Service is alive", within=15)
        assert curl(f"http://127.0.0.1:{program.served_port}/healthz") == ""
        assert program.get("/health/ready") == "Readiness probe for review indicates it is not ready"
        until(lambda: "mesh.yaml" in program.get("/health/ready?verbose"), within=2)
        (mesh / "mesh.yaml").write_text((BOOKSTORE / "mesh.yaml").read_text())
        program.until_ready()
        assert curl(f"http://127.0.0.1:{program.served_port}/healthz") == "Health OK"


def test_stopped_it_gives_no_response_and_goes_on_afterwards(tmp_path: Path) -> None:
    with running("osm-injector", tmp_path) as program:
        program.until_ready()
        port = program.served_port
        program.process.send_signal(signal.SIGSTOP)
        assert curl(f"http://127.0.0.1:{port}/healthz", "--max-time", "1") == ""
        program.process.send_signal(signal.SIGCONT)
        until(lambda: curl(f"http://127.0.0.1:{port}/healthz") == "Health OK", within=5)


def test_sigterm_makes_it_unready_then_ends_it_with_0(tmp_path: Path) -> None:
    with running("osm-injector", tmp_path, "--drain-delay=1s") as program:
        program.until_ready()
        port = program.served_port
        program.process.terminate()
        until(lambda: "503" in program.get("/health/ready", "-i"), within=1)
        assert program.get("/health/alive") == "Service is alive"
        assert curl(f"http://127.0.0.1:{port}/healthz") == ""
        assert program.process.wait(10) == 0


def test_a_taken_webhook_port_ends_it_with_1_and_one_line(tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with running("osm-injector", tmp_path, f"--webhook-port={port}") as program:
            assert program.process.wait(15) == 1
            assert f"port {port}" in program.logged("cannot start")["error"]


def test_beside_a_controller_it_uses_the_same_authority(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path) as controller, running("osm-injector", tmp_path) as injector:
        controller.until_ready()
        injector.until_ready()
        assert _answer(injector, tmp_path, "elsewhere")["allowed"] is True
