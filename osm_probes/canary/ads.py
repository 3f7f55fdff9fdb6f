"""ADS canary -> healthy or not: opens an ADS stream as a proxy does and expects its first clusters and listeners.

It uses h2 and not grpc, which needs more memory and time in the judge and does not guarantee a new connection. The
requests and the expected bytes of the responses are those of `snapshot/canary_resource.py`.
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

from osm_probes.canary.connection import Target, connect_and_run
from osm_probes.health.checks import UnhealthyError
from osm_probes.health.judge_state import AdsCanary

PATH: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"

_CHUNK: Final = 65536
_MESSAGE_LIMIT: Final = 1 << 20
_FRAME_HEADER: Final = 9
_FRAME_LIMIT: Final = 16384  # the maximum frame size that h2 announces
_PREFIX: Final = 5  # gRPC over HTTP/2: one byte for compression, four for the length
_CODES: Final = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip


async def check_ads(canary: AdsCanary, *, within: float) -> None:
    """Open an mTLS connection and a stream, send the requests, expect the responses. Raises UnhealthyError."""

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = _Call(canary)
        try:
            while not call.done:
                writer.write(call.outgoing())
                call.receive(await reader.read(_CHUNK))
        except ProtocolError as error:
            raise UnhealthyError(f"the ADS violates HTTP/2: {error}") from error
        writer.write(call.close())

    context = _tls_context(canary)
    target = Target(address=canary.address, port=canary.port, context=context, server_name=canary.server_name)
    await connect_and_run(target, exchange, within=within)


class _Call:
    """One ADS stream on one HTTP/2 connection, without I/O."""

    def __init__(self, canary: AdsCanary) -> None:
        self.done = False
        self._steps = iter(canary.steps)
        self._expected = b""
        self._pending = b""
        self._received = b""
        self._http = H2Connection(H2Configuration(header_encoding="utf-8"))
        self._http.initiate_connection()
        self._stream = self._http.get_next_available_stream_id()
        self._http.send_headers(self._stream, [
            (":method", "POST"), (":scheme", "https"), (":path", PATH), (":authority", canary.server_name),
            ("te", "trailers"), ("content-type", "application/grpc"), ("user-agent", "osm-canary"),
        ])  # fmt: skip
        self._next_step()

    def outgoing(self) -> bytes:
        """The bytes to send now."""
        return self._http.data_to_send()

    def close(self) -> bytes:
        """End the stream and the connection. Returns the bytes to send."""
        self._http.reset_stream(self._stream, error_code=8)  # CANCEL: the client needs no further responses
        self._http.close_connection()
        return self._http.data_to_send()

    def receive(self, data: bytes) -> None:
        """Handle received bytes. Raises UnhealthyError for a bad response, EOFError if the server closes."""
        if not data:
            raise EOFError
        self._pending += data
        # Frame by frame: h2 raises an error for any frame after a GOAWAY, and the GOAWAY would be lost with it.
        while frame := self._next_frame():
            for event in self._http.receive_data(frame):
                self._handle(event)

    def _next_frame(self) -> bytes:
        """The next complete frame (RFC 9113, 4.1). An oversized frame is returned incomplete, for h2 to reject."""
        length = _FRAME_HEADER + int.from_bytes(self._pending[:3], "big")
        if len(self._pending) < _FRAME_HEADER or len(self._pending) < length <= _FRAME_HEADER + _FRAME_LIMIT:
            return b""
        frame, self._pending = self._pending[:length], self._pending[length:]
        return frame

    def _handle(self, event: Event) -> None:
        if isinstance(event, ResponseReceived | TrailersReceived):
            _check_status({str(name): str(value) for name, value in event.headers or ()})
        elif isinstance(event, DataReceived):
            self._received += event.data or b""
            if event.flow_controlled_length:
                self._http.acknowledge_received_data(event.flow_controlled_length, self._stream)
            self._read_messages()
        elif isinstance(event, ConnectionTerminated) and event.error_code == ErrorCodes.NO_ERROR:
            raise EOFError  # a replaced server closes its connections
        elif isinstance(event, StreamReset | ConnectionTerminated):
            raise UnhealthyError(f"the ADS reset the stream: HTTP/2 error {event.error_code}")

    def _next_step(self) -> None:
        step = next(self._steps, None)
        if step is None:
            self.done = True
            return
        self._expected = step.expected
        for request in step.requests:
            self._http.send_data(self._stream, b"\0" + len(request).to_bytes(4, "big") + request)

    def _read_messages(self) -> None:
        while not self.done and len(self._received) >= _PREFIX:
            end = _PREFIX + int.from_bytes(self._received[1:_PREFIX], "big")
            if end > _MESSAGE_LIMIT:
                raise UnhealthyError("the response of the ADS is too long")
            if len(self._received) < end:
                return
            message, self._received = self._received[_PREFIX:end], self._received[end:]
            if self._expected not in message:
                raise UnhealthyError("the response of the ADS does not contain the canary's resource")
            self._next_step()


def _check_status(headers: dict[str, str]) -> None:
    """Raises UnhealthyError for an HTTP status other than 200, and for a gRPC status, which ends the stream."""
    if (status := headers.get(":status", "200")) != "200":
        raise UnhealthyError(f"the ADS answers with HTTP status {status}")
    if (code := headers.get("grpc-status")) is not None:
        name = _CODES[int(code)] if code.isdecimal() and int(code) < len(_CODES) else "an unknown code"
        message = headers.get("grpc-message", "")
        reason = f"the ADS ended the stream: {name}"
        raise UnhealthyError(reason, detail=f"{reason}: {message}" if message else "")


def _tls_context(canary: AdsCanary) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    try:
        context.load_verify_locations(cadata=canary.root_pem.decode("ascii"))
        _load_key_pair(context, canary.chain_pem + canary.key_pem)
    except (ssl.SSLError, ValueError) as error:
        raise UnhealthyError(f"the canary's own certificate cannot be used: {error}") from error
    return context


def _load_key_pair(context: ssl.SSLContext, pem: bytes) -> None:
    # OpenSSL reads the pair from a path. The file is in memory, so that the key is not written to a disk.
    descriptor = os.memfd_create("canary", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
