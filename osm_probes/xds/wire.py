"""Envoy messages -> bytes, the same bytes for the same message; they become resources of a snapshot."""

from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message

from osm_probes.snapshot.snapshot import TYPE_PREFIX, Resource


def to_bytes(message: Message) -> bytes:
    """The message on the wire. Several of one type put together read as one message with all their repeated fields."""
    return message.SerializeToString(deterministic=True)


def to_any(message: Message) -> any_pb2.Any:
    """The message in an Any."""
    return any_pb2.Any(type_url=TYPE_PREFIX + message.DESCRIPTOR.full_name, value=to_bytes(message))


def to_resource(message: Message, *, name: str) -> Resource:
    """The message as a resource of that name."""
    return Resource.of(name, TYPE_PREFIX + message.DESCRIPTOR.full_name, to_bytes(message))


def seconds(value: float) -> duration_pb2.Duration:
    """A duration."""
    nanos = round(value * 1e9)
    return duration_pb2.Duration(seconds=nanos // 10**9, nanos=nanos % 10**9)
