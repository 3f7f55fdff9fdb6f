import pytest

from osm_probes.kube.client import refusal
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
def test_each_refusal_is_the_error_that_callers_tell_apart(status: int, error: type[KubernetesError]) -> None:
    assert type(refusal(status, b'{"kind": "Status", "message": "the words"}')) is error


def test_a_refusal_has_the_api_servers_words() -> None:
    assert str(refusal(403, b'{"message": "pods is forbidden"}')) == "pods is forbidden"


def test_a_refusal_by_who_is_no_api_server_has_his_words_or_the_status() -> None:
    assert str(refusal(502, b"<html>Bad Gateway</html>")) == "<html>Bad Gateway</html> (502)"
    assert str(refusal(404, b"")) == "HTTP status 404"


@pytest.mark.parametrize(("text", "seconds"), [("7", 7.0), (None, 0.0), ("Wed, 21 Oct 2015", 0.0), ("9" * 9, 0.0)])
def test_who_is_busy_says_for_how_long_or_does_not(text: str | None, seconds: float) -> None:
    error = refusal(429, b"", retry_after=text)
    assert isinstance(error, BusyError)
    assert error.retry_after == seconds
