import pytest

from osm_probes.kube.client import Response, error_from_response
from osm_probes.kube.errors import (
    BusyError,
    ConflictError,
    ExpiredError,
    ForbiddenError,
    KubernetesError,
    NotFoundError,
)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, ForbiddenError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (409, ConflictError),
        (410, ExpiredError),
        (429, BusyError),
        (503, BusyError),
        (500, KubernetesError),
    ],
)
def test_each_error_status_has_its_error_class(status: int, error: type[KubernetesError]) -> None:
    assert type(error_from_response(Response(status, b'{"kind": "Status", "message": "it failed"}'))) is error


def test_an_error_has_the_api_servers_message() -> None:
    assert str(error_from_response(Response(403, b'{"message": "pods is forbidden"}'))) == "pods is forbidden"


def test_an_error_from_another_server_has_its_body_or_its_status() -> None:
    assert str(error_from_response(Response(502, b"<html>Bad Gateway</html>"))) == "<html>Bad Gateway</html> (502)"
    assert str(error_from_response(Response(404, b""))) == "HTTP status 404"


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), (None, 0.0), ("Wed, 21 Oct 2015", 0.0), ("9" * 9, 0.0)])
def test_a_busy_error_has_the_seconds_of_retry_after(header: str | None, seconds: float) -> None:
    error = error_from_response(Response(429, b"", retry_after=header))
    assert isinstance(error, BusyError)
    assert error.retry_after == seconds
