import pytest

from osm_probes.judge.grpc_health.messages import MalformedRequestError, Status, response, service_of


@pytest.mark.parametrize(
    ("request_bytes", "service"),
    [
        (b"", ""),
        (b"\x0a\x00", ""),
        (b"\x0a\x08liveness", "liveness"),
        (b"\x0a\x01a\x0a\x01b", "b"),  # the last one counts
        (b"\x10\x96\x01\x0a\x01a", "a"),  # other fields are skipped: a varint,
        (b"\x11" + bytes(8) + b"\x0a\x01a", "a"),  # 8 bytes,
        (b"\x15" + bytes(4) + b"\x0a\x01a", "a"),  # 4 bytes,
        (b"\x0a\x01a\x12\x03\x0a\x01z", "a"),  # and a message
        ("\x0a\x02é".encode("latin-1").replace(b"\xe9", "é".encode()), "é"),
        (b"\x0a\x80\x01" + b"x" * 128, "x" * 128),
    ],
)
def test_the_service_of_a_request(request_bytes: bytes, service: str) -> None:
    assert service_of(request_bytes) == service


@pytest.mark.parametrize(
    "request_bytes",
    [b"\x0a", b"\x0a\x05abc", b"\x0a\x02\xff\xff", b"\x0b", b"\xff" * 11, b"\x11\x00", b"\x10"],
)
def test_malformed_bytes_are_an_error(request_bytes: bytes) -> None:
    with pytest.raises(MalformedRequestError):
        service_of(request_bytes)


def test_a_response_is_one_small_field() -> None:
    assert [response(status) for status in Status] == [b"\x08\x01", b"\x08\x02", b"\x08\x03"]
