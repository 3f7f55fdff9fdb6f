"""JSON document and JSON patch (RFC 6902) -> the patched document, as the API server makes it."""

from collections.abc import Sequence
from typing import Any

import msgspec

from osm_probes.foundation.errors import OsmError


class InapplicablePatchError(OsmError):
    """The patch does not fit the document; the text names the operation."""


class PatchOperation(msgspec.Struct, frozen=True):
    """One operation of a patch: `add`, `remove` or `replace`."""

    op: str
    path: str
    value: Any = None


def apply_patch(document: Any, operations: Sequence[PatchOperation]) -> Any:
    """The document after all operations, which change it in place. Raises InapplicablePatchError."""
    for operation in operations:
        try:
            document = _apply(document, operation)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise InapplicablePatchError(f"{operation.op} {operation.path} does not fit the pod") from error
    return document


def _apply(document: Any, operation: PatchOperation) -> Any:
    if operation.op not in {"add", "remove", "replace"}:
        raise ValueError(operation.op)
    *parents, last = _tokens(operation.path)
    target = document
    for token in parents:
        target = target[_index(token, len(target)) if isinstance(target, list) else token]
    if isinstance(target, list):
        _change_list(target, last, operation)
    else:
        if operation.op != "add":
            del target[last]
        if operation.op != "remove":
            target[last] = operation.value
    return document


def _change_list(target: list[Any], member: str, operation: PatchOperation) -> None:
    if operation.op == "add":
        index = len(target) if member == "-" else _index(member, len(target) + 1)
        target.insert(index, operation.value)
        return
    index = _index(member, len(target))
    target[index : index + 1] = [operation.value] if operation.op == "replace" else []


def _tokens(pointer: str) -> list[str]:
    """The parts of a JSON pointer (RFC 6901). Raises ValueError."""
    root, *tokens = pointer.split("/")
    if root or not tokens:
        raise ValueError(pointer)
    return [token.replace("~1", "/").replace("~0", "~") for token in tokens]


def _index(token: str, length: int) -> int:
    if not token.isdecimal() or not token.isascii() or len(token) > len(str(length)) or int(token) >= length:
        raise IndexError(token)
    return int(token)
