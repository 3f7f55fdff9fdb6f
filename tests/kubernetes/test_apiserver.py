"""The rig itself: what other tests rely on."""

import time

import pytest

from tests.kubernetes.apiserver import ApiServer, ApiServerError

pytestmark = pytest.mark.kubernetes
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "rig"}}


def test_what_was_stored_is_there_after_a_kill_and_a_start(own_api_server: ApiServer) -> None:
    own_api_server.create(NAMESPACE)
    own_api_server.kill()
    with pytest.raises(OSError, match="refused"):
        own_api_server.request("GET", "/api/v1/namespaces/rig")
    own_api_server.start()
    assert own_api_server.request("GET", "/api/v1/namespaces/rig")["metadata"]["name"] == "rig"


def test_what_hangs_does_not_answer_until_it_is_let_go_on(api_server: ApiServer) -> None:
    api_server.hang()
    try:
        with pytest.raises(TimeoutError):
            api_server.request("GET", "/version", within=0.5)
    finally:
        api_server.resume()
    started = time.monotonic()
    assert api_server.request("GET", "/version")["major"] == "1"
    assert time.monotonic() - started < 5


def test_a_refusal_has_its_status(api_server: ApiServer) -> None:
    with pytest.raises(ApiServerError, match="not found") as error:
        api_server.request("GET", "/api/v1/namespaces/nowhere")
    assert error.value.status == 404
