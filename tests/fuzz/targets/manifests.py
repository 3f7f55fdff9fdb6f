"""Files of a mesh folder, and objects of the API server: anything is a mesh or one ManifestError."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import strategies as st

from osm_probes.kube.wire import decode_object, decode_watch_event
from osm_probes.sources.kubernetes_source import CONTROLLER_KINDS
from osm_probes.sources.manifests import ManifestError, object_decoder, read_objects
from osm_probes.sources.objects import MeshObject
from osm_probes.sources.translate import mesh_from_objects
from tests.fuzz.mutations import near_bytes, near_json
from tests.fuzz.target import Check, FuzzTarget
from tests.sources import manifests as build

VALID = [
    build.namespace(),
    build.service({"port": 80, "targetPort": "web", "name": "http"}),
    build.pod(),
    build.slice_of({"addresses": ["10.42.0.1"], "conditions": {"ready": True}, "targetRef": {"name": "shop-0"}}),
    build.mesh_config({"traffic": {"enableEgress": True}, "certificate": {"serviceCertValidityDuration": "24h"}}),
    build.target(build.rule("HTTPRouteGroup"), build.rule("TCPRoute")),
    build.route_group({"name": "a", "pathRegex": "/b.*", "methods": ["GET"], "headers": {"x": "[a-z]+"}}),
    build.tcp_route(80),
    build.split(v1=90, v2=10),
]
OBJECTS = [json.loads(text) for text in VALID]
YAML = [
    "apiVersion: v1\nkind: Pod\nmetadata: &m\n  name: a\n  labels: {x: yes, y: 'no'}\n---\n{a: *m}\n",
    "a: &a {b: 1, c: ~}\nd: {<<: *a, b: 2}\ne: [!!str 1, 0x1F, 0o7, 1.5e3, .inf]\nf: |\n  text\ng: >-\n  folded\n",
    "%YAML 1.1\n%TAG !e! tag:example.com,2000:\n---\n- !!int '12'\n- ? b\n  : c\n- \"\\u00e9\\x41\"\n...\n",
]
_TOKENS = [
    *(
        "- ",
        "? ",
        ": ",
        ":",
        ", ",
        "[",
        "]",
        "{",
        "}",
        "\n",
        "\n  ",
        "\n---\n",
        "\n...\n",
        "#",
        "'",
        '"',
        "|\n",
        ">-\n",
    ),
    *(
        "&a ",
        "*a",
        "<<: ",
        "!!int ",
        "!!bool ",
        "!!str ",
        "!!float ",
        "!!null ",
        "!!binary ",
        "!x ",
        "! ",
        "%TAG ! a\n",
    ),
    *(
        "a",
        "yes",
        "off",
        "~",
        "null",
        "true",
        "010",
        "0o7",
        "0x1F",
        "1e5",
        ".nan",
        "1:30",
        "2024-01-01",
        "\t",
        "\\u00e9",
    ),
    *("apiVersion: v1\n", "kind: Pod\n", "metadata: {name: a}\n", "\ufeff", "\x85", "\u2028", "\0", "\r", "\x7f"),
]
_tokens = st.lists(st.sampled_from(_TOKENS), max_size=40).map(lambda parts: "".join(parts).encode())
_yaml = st.binary(max_size=200) | _tokens | near_bytes([*map(str.encode, VALID), *map(str.encode, YAML)])


def _read(name: str, content: bytes) -> tuple[MeshObject, ...] | None:
    try:
        objects = read_objects(Path(name), content)
    except ManifestError as error:
        assert str(error).isprintable(), "an error is one line"
        assert len(str(error)) < 700, "an error is short"
        assert "it cannot be read" not in str(error), "an unforeseen exception"
        return None
    mesh_from_objects([*_read_valid(build.namespace()), *objects], mesh_name="osm")
    return objects


def _read_valid(text: str) -> tuple[MeshObject, ...]:
    return read_objects(Path("valid.yaml"), text.encode())


@contextlib.contextmanager
def _bytes() -> Iterator[Check]:
    def check(content: bytes) -> None:
        _read("x.yaml", content)
        _read("x.json", content)

    yield check


@contextlib.contextmanager
def _documents() -> Iterator[Check]:
    def check(document: Any) -> None:
        # JSON is YAML, if it has no characters that YAML does not permit and no numbers that differ.
        text = json.dumps(document)
        objects = _read("x.json", text.encode())
        if "\\ud" not in text and "e+" not in text and not any(len(word) > 18 for word in text.split()):
            assert _read("x.yaml", text.encode()) == objects, "the same document as YAML and as JSON"

    yield check


@contextlib.contextmanager
def _objects() -> Iterator[Check]:
    decoders = [object_decoder(object_type) for object_type in CONTROLLER_KINDS.values()]

    def check(document: Any) -> None:
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        for decode in decoders:
            try:
                decode(content)
            except ManifestError as error:
                assert "it cannot be read" not in str(error), "an unforeseen exception"

    yield check


@contextlib.contextmanager
def _watch() -> Iterator[Check]:
    def check(line: bytes) -> None:
        with contextlib.suppress(msgspec.DecodeError):
            decode_object(decode_watch_event(line).object)

    yield check


_deep = st.integers(0, 3000).map(lambda levels: b"[" * levels + b"1" + b"]" * levels)
_EVENT = b'{"type":"ADDED","object":%b}'
_events = near_bytes([_EVENT % text.encode() for text in VALID]) | _deep.map(lambda deep: _EVENT % (b'{"x":%b}' % deep))

TARGETS = (
    FuzzTarget("watch", _events, _watch),
    FuzzTarget("yaml", _yaml, _bytes),
    FuzzTarget("manifests", near_json(OBJECTS), _documents),
    FuzzTarget("objects", near_json(OBJECTS) | near_bytes(list(map(str.encode, VALID))), _objects),
)
