"""Bytes <-> the two messages of grpc.health.v1. They are so small that the judge does without protobuf.

https://github.com/grpc/grpc/blob/master/src/proto/grpc/health/v1/health.proto
"""

import enum
from typing import Final

from osm_probes.foundation.errors import OsmError

_VARINT_LIMIT: Final = 10  # bytes
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of protobuf


class MalformedRequestError(OsmError):
    """The bytes are not a HealthCheckRequest."""


class Status(enum.IntEnum):
    """ServingStatus of health.proto."""

    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


def response(status: Status) -> bytes:
    """A HealthCheckResponse: field 1, a varint."""
    return bytes((0x08, status))


def service_of(request: bytes) -> str:
    """The service of a HealthCheckRequest: field 1, a string. Others are skipped. Raises MalformedRequestError."""
    service, at = b"", 0
    while at < len(request):
        tag, at = _varint(request, at)
        kind = tag & 7
        if kind == _BYTES:
            size, at = _varint(request, at)
        elif kind == _VARINT:
            size = _varint(request, at)[1] - at
        else:
            size = {_FIXED64: 8, _FIXED32: 4}.get(kind, len(request) + 1)
        if at + size > len(request):
            raise MalformedRequestError("a field is cut off or of no known type")
        if tag == 1 << 3 | _BYTES:
            service = request[at : at + size]
        at += size
    try:
        return service.decode()
    except UnicodeDecodeError as error:
        raise MalformedRequestError("the service is no UTF-8") from error


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins at `at`, and the position after it."""
    value = 0
    for index, byte in enumerate(data[at : at + _VARINT_LIMIT]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    raise MalformedRequestError("a number is cut off")
