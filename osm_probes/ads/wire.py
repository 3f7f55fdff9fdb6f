"""Bytes of protobuf: fields that are written once and concatenated, without building messages.

https://protobuf.dev/programming-guides/encoding/#last-one-wins: concatenated messages are merged, so a response is a
body that many streams share, and this stream's nonce behind it.
"""

from typing import Final

_LENGTH_DELIMITED: Final = 2


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field (string, bytes or message) numbered 1 to 15."""
    return bytes(((number << 3) | _LENGTH_DELIMITED,)) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append((value & 0x7F) | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
