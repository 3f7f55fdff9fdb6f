"""ADS canary -> yes, or no with a reason: the controller dials itself as a proxy does and expects its one resource.

By h2 and not by grpc: less memory and time in the judge, and a new connection each time for certain.
"""

import asyncio
import os
import ssl
from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, Event, ResponseReceived, StreamReset, TrailersReceived
from h2.exceptions import ProtocolError

from osm_probes.canary.dial import Dial, asked
from osm_probes.health.checks import UnhealthyError
from osm_probes.health.judge_state import AdsCanary

PATH: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"

_CHUNK: Final = 65536
_MESSAGE_LIMIT: Final = 1 << 20
_FRAME_HEADER: Final = 9
_FRAME_LIMIT: Final = 16384  # what h2 announces
_PREFIX: Final = 5  # gRPC over HTTP/2: a byte for compression, four for the length
_CODES: Final = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip


async def ask_ads(canary: AdsCanary, *, within: float) -> None:
    """A new connection with mTLS, a stream, a request, the resource. Raises UnhealthyError."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = _Call(canary)
        try:
            while not call.answered:
                writer.write(call.outgoing())
                call.receive(await reader.read(_CHUNK))
        except ProtocolError as error:
            raise UnhealthyError(f"the ADS breaks the rules of HTTP/2: {error}") from error
        writer.write(call.goodbye())

    context = _context(canary)
    dial = Dial(address=canary.address, port=canary.port, context=context, server_name=canary.server_name)
    await asked(dial, talk, within=within)


class _Call:
    """One ADS stream on one HTTP/2 connection, without I/O."""

    def __init__(self, canary: AdsCanary) -> None:
        self.answered = False
        self._expected = canary.expected
        self._pending = b""
        self._received = b""
        self._http = H2Connection(H2Configuration(header_encoding="utf-8"))
        self._http.initiate_connection()
        self._stream = self._http.get_next_available_stream_id()
        self._http.send_headers(self._stream, [
            (":method", "POST"), (":scheme", "https"), (":path", PATH), (":authority", canary.server_name),
            ("te", "trailers"), ("content-type", "application/grpc"), ("user-agent", "osm-canary"),
        ])  # fmt: skip
        self._http.send_data(self._stream, b"\0" + len(canary.request).to_bytes(4, "big") + canary.request)

    def outgoing(self) -> bytes:
        """What is to be sent now."""
        return self._http.data_to_send()

    def goodbye(self) -> bytes:
        """The end of stream and connection."""
        self._http.reset_stream(self._stream, error_code=8)  # CANCEL: a client that needs no more
        self._http.close_connection()
        return self._http.data_to_send()

    def receive(self, data: bytes) -> None:
        """Take what came. Raises UnhealthyError where it says no, EOFError where the connection ended or is to end."""
        if not data:
            raise EOFError
        self._pending += data
        # Frame by frame: h2 takes any frame after a GOAWAY for an error, and the GOAWAY itself would never be seen.
        while frame := self._next_frame():
            for event in self._http.receive_data(frame):
                self._take(event)

    def _next_frame(self) -> bytes:
        """The next whole frame (RFC 9113, 4.1); one that is longer than allowed as it is, for h2 to refuse."""
        length = _FRAME_HEADER + int.from_bytes(self._pending[:3], "big")
        if len(self._pending) < _FRAME_HEADER or len(self._pending) < length <= _FRAME_HEADER + _FRAME_LIMIT:
            return b""
        frame, self._pending = self._pending[:length], self._pending[length:]
        return frame

    def _take(self, event: Event) -> None:
        if isinstance(event, ResponseReceived | TrailersReceived):
            _refuse({str(name): str(value) for name, value in event.headers or ()})
        elif isinstance(event, DataReceived):
            self._received += event.data or b""
            if event.flow_controlled_length:
                self._http.acknowledge_received_data(event.flow_controlled_length, self._stream)
            self._read()
        elif isinstance(event, ConnectionTerminated) and event.error_code == ErrorCodes.NO_ERROR:
            raise EOFError  # a server that has a successor takes leave
        elif isinstance(event, StreamReset | ConnectionTerminated):
            raise UnhealthyError(f"the ADS dropped the stream: HTTP/2 error {event.error_code}")

    def _read(self) -> None:
        length = int.from_bytes(self._received[1:_PREFIX], "big")
        if length > _MESSAGE_LIMIT:
            raise UnhealthyError("the ADS answers without an end")
        if len(self._received) < _PREFIX + length or len(self._received) < _PREFIX:
            return
        message = self._received[_PREFIX : _PREFIX + length]
        if self._expected not in message:
            raise UnhealthyError("the ADS answers without the canary's resource")
        self.answered = True


def _refuse(headers: dict[str, str]) -> None:
    """Headers of an answer that goes on are no refusal; a status of HTTP or gRPC is."""
    if (status := headers.get(":status", "200")) != "200":
        raise UnhealthyError(f"the ADS answers with HTTP status {status}")
    if (code := headers.get("grpc-status")) is not None:
        name = _CODES[int(code)] if code.isdecimal() and int(code) < len(_CODES) else code
        message = headers.get("grpc-message", "")
        raise UnhealthyError(f"the ADS ended the stream: {name}{': ' if message else ''}{message}")


def _context(canary: AdsCanary) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    try:
        context.load_verify_locations(cadata=canary.root_pem.decode("ascii"))
        _load(context, canary.chain_pem + canary.key_pem)
    except (ssl.SSLError, ValueError) as error:
        raise UnhealthyError(f"the canary's own certificate cannot be used: {error}") from error
    return context


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    # OpenSSL reads a path: one in memory, so that no key touches a disk.
    descriptor = os.memfd_create("canary", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
