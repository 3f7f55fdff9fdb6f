"""Protobuf encoding of single fields, so that responses are concatenated from bytes that streams share.

Concatenated messages are merged (https://protobuf.dev/programming-guides/encoding/#last-one-wins). So a response is a
body that many streams share, followed by the nonce of one stream.
"""

from typing import Final

_LENGTH_DELIMITED: Final = 2


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field: a string, bytes or a message."""
    return _varint((number << 3) | _LENGTH_DELIMITED) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append((value & 0x7F) | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
