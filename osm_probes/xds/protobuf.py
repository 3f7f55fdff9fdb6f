"""Protobuf messages of Envoy's API -> bytes and snapshot resources. Equal messages give equal bytes."""

from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message

from osm_probes.snapshot.snapshot import TYPE_PREFIX, Resource


def to_bytes(message: Message) -> bytes:
    """The serialised message. Concatenated messages of one type decode as one, with their repeated fields joined."""
    return message.SerializeToString(deterministic=True)


def to_any(message: Message) -> any_pb2.Any:
    """The message packed into an Any."""
    return any_pb2.Any(type_url=TYPE_PREFIX + message.DESCRIPTOR.full_name, value=to_bytes(message))


def to_resource(message: Message, *, name: str) -> Resource:
    """The message as a snapshot resource with this name."""
    return Resource.of(name, TYPE_PREFIX + message.DESCRIPTOR.full_name, to_bytes(message))


def to_duration(seconds: float) -> duration_pb2.Duration:
    """Seconds as a Duration."""
    nanos = round(seconds * 1e9)
    return duration_pb2.Duration(seconds=nanos // 10**9, nanos=nanos % 10**9)
