"""JSON of any depth -> JSON that can be decoded: what is nested deeper than anything that is read becomes null.

Custom resources may have any depth below a field that their CRD does not know (up to 10,000 levels), and decoders are
recursive. One such object must not end the watch of its kind.
"""

import re
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

T = TypeVar("T")

_MAX_DEPTH: Final = 64
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]', re.DOTALL)


def decode_any_depth(decode: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """The decoder, but for JSON of any depth. It raises msgspec.DecodeError, also for bytes that are not UTF-8."""

    def decode_shallow(content: bytes) -> T:
        try:
            try:
                return decode(content)
            except RecursionError:
                return decode(without_deep_parts(bytes(content)))
        except UnicodeDecodeError as error:
            raise msgspec.DecodeError(str(error)) from error

    return decode_shallow


def without_deep_parts(content: bytes) -> bytes:
    """The JSON with null instead of each list and map that is nested deeper than 64 levels."""
    kept: list[bytes] = []
    depth, end = 0, 0
    for token in _TOKEN.finditer(content):
        match content[token.start()]:
            case 0x5B | 0x7B:  # [ and {
                depth += 1
                if depth == _MAX_DEPTH + 1:
                    kept += [content[end : token.start()], b"null"]
            case 0x5D | 0x7D:
                if depth == _MAX_DEPTH + 1:
                    end = token.end()
                depth -= 1
    return b"".join([*kept, content[end:]])
