import pytest
from h2.connection import H2Connection
from h2.events import DataReceived, Event, ResponseReceived, TrailersReceived

from osm_probes.judge.grpc_health.messages import Status
from osm_probes.judge.grpc_health.session import CALLS, Call, CallCancelled, ConnectionOverError, GrpcSession, Method

GRPC = "application/grpc"
LIVENESS = b"\0\0\0\0\x0a\x0a\x08liveness"


class Client:
    """The other end: real h2, spoken to without sockets."""

    def __init__(self, session: GrpcSession) -> None:
        self.session = session
        self.http = H2Connection()
        self.http.initiate_connection()

    def call(
        self, message: bytes = LIVENESS, *, path: bytes = Method.CHECK.value, kind: str = "application/grpc"
    ) -> int:
        stream = self.http.get_next_available_stream_id()
        head = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path.decode()),
            (":authority", "x"),
            ("content-type", kind),
        ]
        self.http.send_headers(stream, head)
        self.http.send_data(stream, message, end_stream=True)
        return stream

    def talk(self) -> tuple[list[Call | CallCancelled], list[Event]]:
        """Carry all bytes over, both ways."""
        news = self.session.receive(self.http.data_to_send())
        return news, self.http.receive_data(self.session.outgoing())


@pytest.fixture
def client() -> Client:
    client = Client(GrpcSession())
    client.talk()
    return client


def fields(events: list[Event]) -> dict[bytes, bytes]:
    heads = [each for each in events if isinstance(each, ResponseReceived | TrailersReceived)]
    return {name: value for each in heads for name, value in each.headers or ()}


def test_a_check_call_is_answered(client: Client) -> None:
    call = client.call()
    assert client.talk()[0] == [Call(call, Method.CHECK, "liveness")]
    client.session.report(call, Status.SERVING, last=True)
    _, events = client.talk()
    assert fields(events)[b"grpc-status"] == b"0"
    assert [each.data for each in events if isinstance(each, DataReceived)] == [b"\0\0\0\0\x02\x08\x01"]


@pytest.mark.parametrize(
    ("message", "path", "code"),
    [
        (LIVENESS, b"/grpc.health.v1.Health/List", b"12"),
        (b"\1" + LIVENESS[1:], Method.CHECK.value, b"12"),
        (LIVENESS[:-1], Method.CHECK.value, b"3"),
        (LIVENESS * 2, Method.CHECK.value, b"3"),
        (b"", Method.WATCH.value, b"3"),
        (b"\0\0\0\0\x01\xff", Method.WATCH.value, b"3"),
        (b"\0\0\0\x07\xd0" + bytes(2000), Method.CHECK.value, b"8"),
    ],
)
def test_a_malformed_call_is_refused_with_the_right_code(
    client: Client, message: bytes, path: bytes, code: bytes
) -> None:
    client.call(message, path=path)
    news, events = client.talk()
    assert news == []
    assert fields(events)[b"grpc-status"] == code
    again = client.call()
    assert client.talk()[0] == [Call(again, Method.CHECK, "liveness")]  # the connection lives


def test_a_request_that_is_not_grpc_gets_http_status_415(client: Client) -> None:
    client.call(kind="application/json")
    assert fields(client.talk()[1]) == {b":status": b"415"}


def test_a_call_cancelled_in_the_same_packet_is_ignored(client: Client) -> None:
    call = client.call(path=b"/nothing")
    client.http.reset_stream(call)
    watch = client.call(path=Method.WATCH.value)
    client.http.reset_stream(watch)
    news, _ = client.talk()
    assert news == [CallCancelled(call), Call(watch, Method.WATCH, "liveness"), CallCancelled(watch)]


def test_a_client_that_reads_nothing_is_dropped_and_costs_no_memory(client: Client) -> None:
    call = client.call(path=Method.WATCH.value)
    client.talk()

    def report(times: int) -> None:
        for _ in range(times):
            client.session.report(call, Status.SERVING, last=False)

    report(9000)
    with pytest.raises(ConnectionOverError, match="reads nothing"):
        report(1000)
    assert len(client.session.outgoing()) < 200_000


def test_an_endless_request_is_refused_before_its_flow_control_window_is_full(client: Client) -> None:
    stream = client.http.get_next_available_stream_id()
    head = [(":method", "POST"), (":scheme", "http"), (":path", Method.CHECK.value.decode()), (":authority", "x")]
    client.http.send_headers(stream, [*head, ("content-type", "application/grpc")])
    client.http.send_data(stream, bytes(2000))
    assert fields(client.talk()[1])[b"grpc-status"] == b"8"
    for _ in range(100):  # what still comes is forgotten, and the connection's window stays open
        if client.http.local_flow_control_window(stream) >= 1000:
            client.http.send_data(stream, bytes(1000))
        client.talk()
    assert client.http.local_flow_control_window(stream) < 1000
    assert client.http.outbound_flow_control_window > 60_000
    again = client.call()
    assert client.talk()[0] == [Call(again, Method.CHECK, "liveness")]


def test_too_many_concurrent_calls_end_the_connection() -> None:
    client = Client(GrpcSession())  # one that does not wait for the settings
    for _ in range(CALLS + 1):
        client.call(path=Method.WATCH.value)
    with pytest.raises(ConnectionOverError):
        client.talk()


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00" * 10])
def test_bytes_that_are_not_http_2_end_the_connection(data: bytes) -> None:
    with pytest.raises(ConnectionOverError):
        GrpcSession().receive(data)


def test_a_goaway_of_the_client_ends_the_connection_after_the_pending_answer(client: Client) -> None:
    client.http.close_connection()
    with pytest.raises(ConnectionOverError, match="closed the connection"):
        client.talk()
    client.session.goaway()
