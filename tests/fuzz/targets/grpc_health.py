"""Bytes of clients of grpc.health.v1: calls, or ConnectionOverError."""

import contextlib
from collections.abc import Iterator

from h2.connection import H2Connection
from hypothesis import strategies as st

from osm_probes.judge.grpc_health.messages import MalformedRequestError, Status, service_of
from osm_probes.judge.grpc_health.session import Call, Code, ConnectionOverError, GrpcSession, Method
from tests.fuzz.mutations import near_bytes
from tests.fuzz.target import Check, FuzzTarget


def _client_bytes() -> bytes:
    """What a client sends for two calls."""
    http = H2Connection()
    http.initiate_connection()
    for path in (Method.CHECK, Method.WATCH):
        stream = http.get_next_available_stream_id()
        head = [(":method", "POST"), (":scheme", "http"), (":path", path.value.decode()), (":authority", "x")]
        http.send_headers(stream, [*head, ("content-type", "application/grpc")])
        http.send_data(stream, b"\0\0\0\0\x0a\x0a\x08liveness", end_stream=True)
    http.ping(b"12345678")
    return bytes(http.data_to_send())


_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@st.composite
def _frames(draw: st.DrawFn) -> bytes:
    """The preface, and frames whose lengths are right."""
    frames = b""
    for _ in range(draw(st.integers(0, 8))):
        payload = draw(st.binary(max_size=24))
        head = bytes((draw(st.integers(0, 12)), draw(st.integers(0, 255))))
        frames += len(payload).to_bytes(3, "big") + head + draw(st.integers(0, 5)).to_bytes(4, "big") + payload
    return _PREFACE + b"\0\0\0\4\0\0\0\0\0" + frames


@contextlib.contextmanager
def _connection() -> Iterator[Check]:
    def check(parts: list[bytes]) -> None:
        session = GrpcSession()
        try:
            for part in parts:
                for event in session.receive(part):
                    if isinstance(event, Call) and len(event.service) % 2:
                        session.refuse(event.id, Code.NOT_FOUND, reason="x")
                    elif isinstance(event, Call):
                        session.report(event.id, Status.SERVING, last=event.method is Method.CHECK)
                session.outgoing()
        except ConnectionOverError:
            pass
        session.goaway()

    yield check


@contextlib.contextmanager
def _message() -> Iterator[Check]:
    def check(content: bytes) -> None:
        with contextlib.suppress(MalformedRequestError):
            service_of(content).encode()

    yield check


_stream = st.binary(max_size=60) | near_bytes([_client_bytes()]) | _frames()
TARGETS = (
    FuzzTarget(
        "grpc-health",
        _stream.flatmap(lambda data: st.integers(0, len(data)).map(lambda at: [data[:at], data[at:]])),
        _connection,
    ),
    FuzzTarget("grpc-health-message", st.binary(max_size=40) | near_bytes([b"\x0a\x08liveness\x12\x01x"]), _message),
)
