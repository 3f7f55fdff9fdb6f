"""Reviews that no API server sent, to an osm-injector that may store Secrets in a real API server."""

import json
import subprocess
from typing import Any

import pytest

from tests.functional.programs import curl
from tests.kubernetes.injectors import Injector, cluster, create_pod, enrol, has_sidecar, running_injector, secrets

pytestmark = [pytest.mark.kubernetes, pytest.mark.netns]
__all__ = ["cluster", "running_injector"]  # fixtures


def post(injector: Injector, review: bytes) -> str:
    """The response to a review that anybody sends."""
    url = f"https://127.0.0.1:{injector.program.served_port}/mutate-pod-creation"
    headers = ("--header", "Content-Type: application/json", "--header", "Expect:")
    command = ["curl", "-sk", "--noproxy", "*", "--max-time", "10", *headers, "--data-binary", "@-", url]
    return subprocess.run(command, input=review, capture_output=True, check=True, timeout=20).stdout.decode()


def review(
    namespace: str, *, metadata: dict[str, Any] | None = None, account: str = "default", uid: str = "1"
) -> bytes:
    """A review of a new pod in this namespace."""
    spec = {"serviceAccountName": account, "containers": [{"name": "app", "image": "app"}]}
    request = {
        "uid": uid,
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "operation": "CREATE",
        "namespace": namespace,
        "object": {"metadata": metadata or {"name": "pod"}, "spec": spec},
    }
    document = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return json.dumps(document).encode()


def test_nothing_is_stored_for_a_review_that_no_api_server_would_send(running_injector: Injector) -> None:
    enrol(running_injector.cluster, "forged")
    forged = [
        review("forged", account="a'b"),
        review("forged", account="a" * 3000),
        review("forged", metadata={"name": "Pod"}),
        review("forged", metadata={"generateName": "pod\n"}),
        review("forged", metadata={"labels": {}}),
        review("forged", metadata={"name": "pod", "namespace": "other"}),
        review("forged", uid="u" * 200),
        review("forged/../forged"),
        review("forged").replace(b"app", b"\xff\xff\xff"),
    ]
    for body in forged:
        assert "patch" not in post(running_injector, body)
    assert secrets(running_injector.cluster, "forged") == []


def test_real_pods_get_their_sidecar_afterwards(running_injector: Injector) -> None:
    enrol(running_injector.cluster, "real")
    assert has_sidecar(create_pod(running_injector.cluster, "real"))
    assert curl(f"https://127.0.0.1:{running_injector.program.served_port}/healthz", "-k") == "Health OK"
