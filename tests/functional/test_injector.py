"""osm-injector as a child process, queried over real sockets."""

import base64
import json
import signal
import socket
from pathlib import Path

from osm_probes.pki.authority import Authority
from tests.functional.programs import BOOKSTORE, Program, curl, running
from tests.standin import until

_ENABLED = {"openservicemesh.io/sidecar-injection": "enabled"}
_POD = {"metadata": {"name": "new", "annotations": _ENABLED}, "spec": {"containers": [{"name": "app", "image": "app"}]}}


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


def _post_review(program: Program, folder: Path, namespace: str) -> dict[str, object]:
    """Send a review as an API server does: it verifies the webhook's certificate with the mesh's root."""
    text = curl(
        f"https://osm-injector.osm-system.svc:{program.served_port}/mutate-pod-creation",
        *("--resolve", f"osm-injector.osm-system.svc:{program.served_port}:127.0.0.1"),
        *("--cacert", str(folder / "ca" / "ca.crt")),
        *("--data", _review(namespace), "--header", "Content-Type: application/json"),
    )
    response: dict[str, object] = json.loads(text)["response"]
    return response


def test_a_pod_in_the_mesh_gets_a_sidecar_and_another_pod_does_not(tmp_path: Path) -> None:
    with running("osm-injector", tmp_path) as program:
        program.until_ready()
        manifest = tmp_path / "mesh" / "shop.yaml"
        manifest.write_text(
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n"
            "  labels: {openservicemesh.io/monitored-by: osm}\n"
            "  annotations: {openservicemesh.io/sidecar-injection: enabled}\n"
        )
        until(lambda: "patch" in _post_review(program, tmp_path, "shop"), within=5)
        response = _post_review(program, tmp_path, "shop")
        assert response["allowed"] is True
        patch = json.loads(base64.b64decode(str(response["patch"])))
        assert '"envoy"' in json.dumps(patch)
        assert _post_review(program, tmp_path, "elsewhere") == {"uid": "1", "allowed": True}
        assert 'osm_admission_webhook_response_total{kind="Pod",success="true"}' in program.get("/metrics")


def test_both_ports_serve_its_health_and_the_webhook_port_does_so_with_and_without_tls(tmp_path: Path) -> None:
    with running("osm-injector", tmp_path) as program:
        program.until_ready()
        port = program.served_port
        assert curl(f"https://127.0.0.1:{port}/healthz", "-k") == "Health OK"
        assert curl(f"http://127.0.0.1:{port}/healthz") == "Health OK"
        assert curl(f"http://127.0.0.1:{port}/metrics") == "404 page not found"
        assert program.get("/healthz") == "Health OK"
        assert program.get("/health/alive") == "Service is alive"
        assert program.get("/version") == '{"version":"0.1.0"}'


def test_without_a_valid_mesh_it_is_not_ready_on_both_ports(tmp_path: Path) -> None:
    mesh = tmp_path / "mesh"
    mesh.mkdir()
    (mesh / "mesh.yaml").write_text("kind: [")
    with running("osm-injector", tmp_path, mesh_dir=mesh) as program:
        until(lambda: program.get("/health/alive") == "Service is alive", within=15)
        assert curl(f"http://127.0.0.1:{program.served_port}/healthz") == ""
        assert program.get("/health/ready") == "Readiness probe for review indicates it is not ready"
        until(lambda: "warn: errors in the mesh folder: 1\n" in program.get("/health/ready?verbose"), within=10)
        assert "mesh.yaml" not in program.get("/health/ready?verbose")
        assert "mesh.yaml" in program.logged("a manifest is invalid: the last good mesh stays in use")["error"]
        (mesh / "mesh.yaml").write_text((BOOKSTORE / "mesh.yaml").read_text())
        program.until_ready()
        assert curl(f"http://127.0.0.1:{program.served_port}/healthz") == "Health OK"


def test_while_it_is_stopped_healthz_does_not_respond_and_afterwards_it_recovers(tmp_path: Path) -> None:
    with running("osm-injector", tmp_path) as program:
        program.until_ready()
        port = program.served_port
        program.process.send_signal(signal.SIGSTOP)
        assert curl(f"http://127.0.0.1:{port}/healthz", "--max-time", "1") == ""
        program.process.send_signal(signal.SIGCONT)
        until(lambda: curl(f"http://127.0.0.1:{port}/healthz") == "Health OK", within=5)


def test_after_sigterm_it_is_not_ready_drains_and_exits_with_0(tmp_path: Path) -> None:
    with running("osm-injector", tmp_path, "--drain-delay=1s") as program:
        program.until_ready()
        port = program.served_port
        program.process.terminate()
        until(lambda: "503" in program.get("/health/ready", "-i"), within=1)
        assert program.get("/health/alive") == "Service is alive"
        assert curl(f"http://127.0.0.1:{port}/healthz") == ""
        assert program.process.wait(10) == 0


def test_with_a_webhook_port_in_use_it_exits_with_1_and_logs_the_reason(tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with running("osm-injector", tmp_path, f"--webhook-port={port}") as program:
            assert program.process.wait(15) == 1
            assert f"port {port}" in program.logged("cannot start")["error"]


def test_it_uses_the_same_certificate_authority_as_a_controller_with_the_same_folder(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path) as controller, running("osm-injector", tmp_path) as injector:
        controller.until_ready()
        injector.until_ready()
        assert _post_review(injector, tmp_path, "elsewhere")["allowed"] is True


def test_with_a_client_ca_that_cannot_be_read_it_exits_with_1_and_logs_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "client-ca.crt"
    file.write_text("no certificate")
    for path, reason in ((file, "it has no CA certificate in PEM"), (tmp_path / "none", "No such file or directory")):
        with running("osm-injector", tmp_path, f"--client-ca={path}") as program:
            assert program.process.wait(15) == 1
            assert f"--client-ca {path}: {reason}" in program.logged("cannot start")["error"]


def test_with_a_client_ca_it_is_ready_and_answers_no_review_of_another_client(tmp_path: Path) -> None:
    file = tmp_path / "client-ca.crt"
    file.write_bytes(Authority.create("clients").root_pem)
    with running("osm-injector", tmp_path, f"--client-ca={file}") as program:
        program.until_ready()
        url = f"https://127.0.0.1:{program.served_port}"
        assert curl(f"{url}/healthz", "-k") == "Health OK"
        headers = ("--header", "Content-Type: application/json")
        answer = curl(f"{url}/mutate-pod-creation", "-k", "-i", "--data", _review("bookbuyer"), *headers)
        assert answer.startswith("HTTP/1.1 403 Forbidden")
        assert answer.endswith("a review needs a client certificate of the API server: see --client-ca")


def test_with_an_image_that_no_api_server_accepts_the_injector_is_alive_and_not_ready(tmp_path: Path) -> None:
    with running("osm-injector", tmp_path, environment={"OSM_DEFAULT_SIDECAR_IMAGE": " "}) as program:
        reason = "[-]review failed: the patched pod would not work: container envoy has no image"
        until(lambda: reason in program.get("/health/ready?verbose"), within=15)
        assert curl(f"https://127.0.0.1:{program.served_port}/healthz", "-k") == ""
        assert program.get("/health/alive") == "Service is alive"


def test_an_empty_image_in_the_environment_is_the_default_image(tmp_path: Path) -> None:
    with running("osm-injector", tmp_path, environment={"OSM_DEFAULT_SIDECAR_IMAGE": ""}) as program:
        program.until_ready()
        assert "envoyproxy/envoy:" in json.dumps(_images(_post_review(program, tmp_path, "bookbuyer")))


def _images(response: dict[str, object]) -> list[str]:
    """The images in the patch of a response."""
    patch = json.loads(base64.b64decode(str(response["patch"])))
    values = [operation["value"] for operation in patch if "ontainers" in operation["path"]]
    return [each["image"] for value in values for each in (value if isinstance(value, list) else [value])]
