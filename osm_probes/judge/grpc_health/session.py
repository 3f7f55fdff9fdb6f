"""Bytes of one HTTP/2 connection <-> calls of grpc.health.v1 and their responses, without I/O.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. It uses h2 and not grpclib, which
accepts messages of any length: the judge's memory must be bounded.
"""

import contextlib
import enum
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, Event, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

from osm_probes.foundation.errors import OsmError
from osm_probes.judge.grpc_health.messages import MalformedRequestError, Status, response, service_of

CALLS: Final = 32
"""The most calls in flight on one connection."""

_MESSAGE_LIMIT: Final = 1024
_PREFIX: Final = 5  # a byte for compression, four for the length
_HEADER_LIMIT: Final = 8192
_TYPE: Final = (b"content-type", b"application/grpc")


class Method(enum.Enum):
    """The methods that are served; the value is the path."""

    CHECK = b"/grpc.health.v1.Health/Check"
    WATCH = b"/grpc.health.v1.Health/Watch"


class Code(enum.IntEnum):
    """The gRPC status codes that are used here."""

    OK = 0
    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12


class ConnectionOverError(OsmError):
    """The client broke the protocol, reads nothing, or closed the connection: send what is left and close."""


class _Http(H2Connection):
    MAX_CLOSED_STREAMS = 256  # remembered of each connection, instead of 65,536


@dataclass(frozen=True, slots=True)
class Call:
    """The client made a call. id: its HTTP/2 stream."""

    id: int
    method: Method
    service: str


@dataclass(frozen=True, slots=True)
class CallCancelled:
    """The client cancelled a call."""

    id: int


class GrpcSession:
    """One client's connection: `receive` takes its bytes, `report` and `refuse` respond, `outgoing` has the rest."""

    def __init__(self) -> None:
        self._requests: dict[int, tuple[Method, bytearray]] = {}
        self._answered: set[int] = set()  # calls whose headers are sent
        self._http = _Http(H2Configuration(client_side=False))
        limits = {SettingCodes.MAX_CONCURRENT_STREAMS: CALLS, SettingCodes.MAX_HEADER_LIST_SIZE: _HEADER_LIMIT}
        self._http.local_settings = Settings(client=False, initial_values=limits)
        self._http.initiate_connection()

    def outgoing(self) -> bytes:
        """The bytes to send now."""
        return self._http.data_to_send()

    def goaway(self) -> bytes:
        """The bytes that end the connection; the client may connect again."""
        self._http.close_connection()
        return self._http.data_to_send()

    def receive(self, data: bytes) -> list[Call | CallCancelled]:
        """Take bytes from the client; what they mean. Raises ConnectionOverError."""
        try:
            events = [self._take(event) for event in self._http.receive_data(data)]
        except H2Error as error:
            raise ConnectionOverError(f"HTTP/2: {error}") from error
        return [event for event in events if event is not None]

    def report(self, call: int, status: Status, *, last: bool) -> None:
        """Send a status; `last` ends the call. Raises ConnectionOverError if the client reads nothing."""
        message = response(status)
        frame = b"\0" + len(message).to_bytes(4, "big") + message
        try:
            if self._http.local_flow_control_window(call) < len(frame):
                raise ConnectionOverError("it reads nothing")
            if call not in self._answered:
                self._answered.add(call)
                self._http.send_headers(call, [(b":status", b"200"), _TYPE])
            self._http.send_data(call, frame)
            if last:
                self._http.send_headers(call, [(b"grpc-status", b"0")], end_stream=True)
                self._answered.discard(call)
        except H2Error as error:
            raise ConnectionOverError(f"HTTP/2: {error}") from error

    def refuse(self, call: int, code: Code, *, reason: str) -> None:
        """End a call that has no answer yet."""
        fields = [_TYPE, (b"grpc-status", b"%d" % code), (b"grpc-message", quote(reason).encode())]
        self._end(call, [(b":status", b"200"), *fields])

    def _end(self, call: int, fields: list[tuple[bytes, bytes]]) -> None:
        self._requests.pop(call, None)
        with contextlib.suppress(H2Error):  # the client has cancelled the call meanwhile
            self._http.send_headers(call, fields, end_stream=True)

    def _take(self, event: Event) -> Call | CallCancelled | None:
        if isinstance(event, RequestReceived):
            self._begin(event.stream_id or 0, dict(event.headers or ()))
        elif isinstance(event, DataReceived):
            self._add(event)
        elif isinstance(event, StreamEnded):
            return self._call(event.stream_id or 0)
        elif isinstance(event, StreamReset):
            self._requests.pop(event.stream_id or 0, None)
            self._answered.discard(event.stream_id or 0)
            return CallCancelled(event.stream_id or 0)
        elif isinstance(event, ConnectionTerminated):
            raise ConnectionOverError("it closed the connection")
        return None

    def _begin(self, call: int, headers: dict[bytes, bytes]) -> None:
        if not headers.get(b"content-type", b"").startswith(_TYPE[1]):
            self._end(call, [(b":status", b"415")])
            return
        try:
            self._requests[call] = Method(headers.get(b":path", b"")), bytearray()
        except ValueError:
            self.refuse(call, Code.UNIMPLEMENTED, reason="there are Check and Watch")

    def _add(self, event: DataReceived) -> None:
        call = event.stream_id or 0
        # The window of the stream itself is never enlarged: no valid request is longer.
        if event.flow_controlled_length:
            self._http.increment_flow_control_window(event.flow_controlled_length)
        if call in self._requests:
            request = self._requests[call][1]
            request += event.data or b""
            if len(request) > _PREFIX + _MESSAGE_LIMIT:
                self.refuse(call, Code.RESOURCE_EXHAUSTED, reason="the request is too long")

    def _call(self, call: int) -> Call | None:
        if call not in self._requests:
            return None
        method, request = self._requests.pop(call)
        if request[:1] == b"\1":
            self.refuse(call, Code.UNIMPLEMENTED, reason="requests must not be compressed")
            return None
        try:
            return Call(call, method, service_of(_message(bytes(request))))
        except MalformedRequestError as error:
            self.refuse(call, Code.INVALID_ARGUMENT, reason=str(error))
            return None


def _message(request: bytes) -> bytes:
    if len(request) < _PREFIX or int.from_bytes(request[1:_PREFIX], "big") != len(request) - _PREFIX:
        raise MalformedRequestError("there must be one whole request")
    return request[_PREFIX:]
