"""A change of a pod -> one operation of a JSON patch (RFC 6902)."""

from typing import Any

Operation = dict[str, Any]
"""`op`, `path` and, except for remove, `value`."""


def add(*path: str | int, value: object) -> Operation:
    """Set a member of an object, or insert into a list: before an index, or at the end with `-`."""
    return {"op": "add", "path": _pointer(path), "value": value}


def remove(*path: str | int) -> Operation:
    """Remove a member, which must exist."""
    return {"op": "remove", "path": _pointer(path)}


def _pointer(path: tuple[str | int, ...]) -> str:
    """RFC 6901: `~` and `/` in names are escaped, in this order."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
