"""YAML text -> documents, by the core schema of YAML 1.2 and with limits. For manifests and kubeconfigs.

PyYAML's C parser reads the text. Its constructors are not used: they follow YAML 1.1 (dates, numbers to base 60), raise
any exception for a bad value, and expand merge keys without a limit.

Beyond YAML 1.2, the merge key `<<` is supported, as in kubectl.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import yaml

from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.text import one_line
from osm_probes.foundation.yaml_schema import Yaml11Boolean, plain_value

MAX_DEPTH: Final = 64
MAX_NODES: Final = 1_000_000
"""The nodes of a text with all aliases expanded, and its documents."""
# The parser compares each %TAG line with all earlier ones.
_MAX_DIRECTIVES: Final = 16
_DIRECTIVE: Final = re.compile(r"(?:\A|[\n\r\x85\u2028\u2029])\ufeff?%")

_LONGEST_PROBLEM: Final = 300

_TAG_PREFIX: Final = "tag:yaml.org,2002:"
_MERGE: Final = "<<"


class YamlError(OsmError):
    """A text is not YAML, or has what is not supported. The text names the document and the line, from 1."""


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """One document, without the nulls in its lists and maps. All keys are texts.

    number: from 1. yaml11_booleans: the Yaml11Boolean values in it, by line.
    """

    number: int
    value: object
    yaml11_booleans: Mapping[int, Yaml11Boolean]


def load_yaml(content: bytes) -> Iterator[YamlDocument]:
    """The documents of a text. Raises YamlError."""
    builder = _Builder()
    text = _decode(content)
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            document = builder.add(event)
            if document is not None:
                yield document
    except (_Problem, yaml.YAMLError) as error:
        line, problem = _explain(error, text)
        raise YamlError(f"document {builder.number}, line {line}: {one_line(problem)[:_LONGEST_PROBLEM]}") from error


def _explain(error: "_Problem | yaml.YAMLError", text: str) -> tuple[int, str]:
    """The line, and what is wrong there."""
    if isinstance(error, _Problem):
        return error.line, str(error)
    if isinstance(error, yaml.reader.ReaderError):
        line = text.encode()[: error.position].count(b"\n") + 1
        return line, f"the character #x{error.character:04x} is not permitted"
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    parts = (getattr(error, "context", None), getattr(error, "problem", None))
    # The parser's line is after the last one if the text ends too early.
    line = min(mark.line + 1, text.count("\n", 0, -1) + 1) if mark else 1
    return line, ": ".join(filter(None, parts)) or str(error)


class _Problem(Exception):  # noqa: N818 - it never leaves this module
    """What is wrong in a line."""

    def __init__(self, event: yaml.Event, text: str) -> None:
        super().__init__(text)
        self.line = _line(event)


def _decode(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise YamlError(f"line {line}: byte 0x{content[error.start]:02x} is not UTF-8") from error
    directives = sum(1 for _ in zip(range(_MAX_DIRECTIVES + 1), _DIRECTIVE.finditer(text), strict=False))
    if directives > _MAX_DIRECTIVES:
        raise YamlError(f"more than {_MAX_DIRECTIVES} lines begin with %")
    return text


@dataclass(slots=True)
class _Collection:
    """A list or map whose end is not read yet. size: its nodes with aliases expanded. key: of the value that comes."""

    value: dict[str, object] | list[object]
    anchor: str | None
    size: int = 1
    key: str | None = None
    keys: set[str] = field(default_factory=set)
    merged: list[dict[str, object]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Node:
    """A complete node. size: see _Collection."""

    value: object
    size: int = 1


class _Builder:
    """Builds documents from the parser's events, without recursion."""

    def __init__(self) -> None:
        self.number = 1
        self._size = 0
        self._root: object = None
        self._stack: list[_Collection] = []
        self._anchors: dict[str, _Node | None] = {}
        self._booleans: dict[int, Yaml11Boolean] = {}

    def add(self, event: yaml.Event) -> YamlDocument | None:
        """Add an event; the document if this was its end."""
        match event:
            case yaml.ScalarEvent():
                self._add_scalar(event)
            case yaml.MappingStartEvent():
                self._open(event, {}, tag="map")
            case yaml.SequenceStartEvent():
                self._open(event, [], tag="seq")
            case yaml.CollectionEndEvent():
                self._close(event)
            case yaml.AliasEvent():
                self._add_alias(event)
            case yaml.DocumentEndEvent():
                return self._end_document(event)
        return None

    def _end_document(self, event: yaml.Event) -> YamlDocument:
        self._count(event, 1)
        document = YamlDocument(self.number, self._root, self._booleans)
        self.number += 1
        self._root, self._anchors, self._booleans = None, {}, {}
        return document

    def _count(self, event: yaml.Event, size: int) -> None:
        self._size += size
        if self._size > MAX_NODES:
            raise _Problem(event, f"the text has more than {MAX_NODES} nodes, its aliases expanded")

    def _add_scalar(self, event: yaml.ScalarEvent) -> None:
        value = _scalar(event)
        node = _Node(value)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        if self._expects_key():
            # kubectl converts keys to texts: 80 and true are the texts "80" and "true".
            is_merge = event.value == _MERGE and event.tag is None and event.implicit[0]
            self._set_key(event, None if value is None else event.value, is_merge=is_merge)
            return
        if isinstance(value, Yaml11Boolean):
            self._booleans[_line(event)] = value
        self._count(event, 1)
        self._place(event, node)

    def _add_alias(self, event: yaml.AliasEvent) -> None:
        if event.anchor not in self._anchors:
            raise _Problem(event, f"the alias *{event.anchor} has no anchor before it")
        node = self._anchors[event.anchor]
        if node is None:
            raise _Problem(event, f"the alias *{event.anchor} is inside its own anchor")
        if self._expects_key():
            self._set_key(event, node.value, is_merge=False)
            return
        self._count(event, node.size)
        self._place(event, node)

    def _open(self, event: yaml.CollectionStartEvent, value: dict[str, object] | list[object], *, tag: str) -> None:
        if event.tag not in {None, "!", _TAG_PREFIX + tag}:
            raise _unsupported_tag(event, event.tag)
        if self._expects_key():
            raise _Problem(event, "a key must be a text, not a list or a map")
        if len(self._stack) >= MAX_DEPTH:
            raise _Problem(event, f"nested too deep: more than {MAX_DEPTH} levels")
        self._count(event, 1)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._stack.append(_Collection(value, event.anchor))

    def _close(self, event: yaml.Event) -> None:
        collection = self._stack.pop()
        if isinstance(collection.value, dict):
            _merge(collection.merged, collection.keys, collection.value)
        node = _Node(collection.value, collection.size)
        if collection.anchor is not None:
            self._anchors[collection.anchor] = node
        self._place(event, node)

    def _expects_key(self) -> bool:
        return bool(self._stack) and self._stack[-1].key is None and isinstance(self._stack[-1].value, dict)

    def _set_key(self, event: yaml.NodeEvent, key: object, *, is_merge: bool) -> None:
        collection = self._stack[-1]
        if not isinstance(key, str):
            raise _Problem(event, "a key must be a text, and not null")
        # The merge key is distinct from a quoted "<<".
        name = f"{_MERGE}\0" if is_merge else key
        if name in collection.keys:
            raise _Problem(event, f"the key {key[:64]!r} is defined twice in one map")
        collection.keys.add(name)
        collection.key = name

    def _place(self, event: yaml.Event, node: _Node) -> None:
        """Put a complete node where it belongs."""
        if not self._stack:
            self._root = node.value
            return
        parent = self._stack[-1]
        parent.size += node.size
        if isinstance(parent.value, list):
            parent.value += [node.value] if node.value is not None else []
            return
        key, parent.key = parent.key or "", None
        if key == f"{_MERGE}\0":
            parent.merged = _merged_maps(event, node.value)
        elif node.value is not None:
            parent.value[key] = node.value


def _merged_maps(event: yaml.Event, value: object) -> list[dict[str, object]]:
    maps = [part for part in (value if isinstance(value, list) else [value]) if isinstance(part, dict)]
    if len(maps) != (len(value) if isinstance(value, list) else 1):
        raise _Problem(event, "the value of << must be a map or a list of maps")
    return maps


def _merge(merged: list[dict[str, object]], keys: set[str], value: dict[str, object]) -> None:
    """Add the keys of the maps, the first map first, that the map itself does not have."""
    for part in merged:
        for key, item in part.items():
            if key not in keys:
                keys.add(key)
                value[key] = item


def _scalar(event: yaml.ScalarEvent) -> object:
    text, tag = event.value, event.tag
    if tag is None:
        return plain_value(text) if event.implicit[0] else text
    name = tag.removeprefix(_TAG_PREFIX)
    if name in {"!", "str"}:
        return text
    value = plain_value(text)
    match name:
        case "null" if value is None:
            return None
        case "bool" if isinstance(value, bool):
            return value
        case "int" if isinstance(value, int) and not isinstance(value, bool):
            return value
        case "float" if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        case "null" | "bool" | "int" | "float":
            raise _Problem(event, f"{text[:64]!r} is not of the type !!{name}")
    raise _unsupported_tag(event, tag)


def _unsupported_tag(event: yaml.Event, tag: object) -> _Problem:
    shown = str(tag).replace(_TAG_PREFIX, "!!")[:64]
    return _Problem(event, f"the tag {shown!r} is not supported: write the value without it")


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1
