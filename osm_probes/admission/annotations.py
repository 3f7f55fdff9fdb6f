"""Labels and annotations -> what they ask of injection; a value that nobody can read is an error with words."""

from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Final

from osm_probes.admission.pod import UnfitPodError

_SWITCH: Final = {"enabled": True, "yes": True, "true": True, "disabled": False, "no": False, "false": False}


class BadAnnotationError(UnfitPodError):
    """An annotation has a value that means nothing; the text names both."""


def switch(annotations: Mapping[str, str], key: str, *, of: str) -> bool | None:
    """What an on-off annotation says; None where it says nothing. Raises BadAnnotationError."""
    value = annotations.get(key, "")
    if not value:
        return None
    try:
        return _SWITCH[value.lower()]
    except KeyError:
        raise BadAnnotationError(
            f"annotation {key} of {of} is {value!r}: say enabled, yes or true, or disabled, no or false"
        ) from None


def ports(annotations: Mapping[str, str], key: str) -> list[int]:
    """The ports of a list separated by commas. Raises BadAnnotationError."""
    return [_port(item, key) for item in _items(annotations, key)]


def ranges(annotations: Mapping[str, str], key: str) -> list[str]:
    """The IPv4 ranges of a list separated by commas. Raises BadAnnotationError."""
    return [_range(item, key) for item in _items(annotations, key)]


def _items(annotations: Mapping[str, str], key: str) -> list[str]:
    value = annotations.get(key)
    return [] if value is None else [item.strip() for item in value.split(",")]


def _port(item: str, key: str) -> int:
    # isdecimal: int() would also take signs, blanks and underscores.
    if not (item.isascii() and item.isdecimal() and len(item) <= 5 and 0 < int(item) < 65536):
        raise BadAnnotationError(f"annotation {key} has {item!r}, which is no port from 1 to 65535")
    return int(item)


def _range(item: str, key: str) -> str:
    # The text goes into a script that runs as root: only what was parsed may come out.
    try:
        return str(IPv4Network(item, strict=False))
    except ValueError as error:
        raise BadAnnotationError(f"annotation {key} has {item!r}, which is no IPv4 range like 10.0.0.0/8") from error
