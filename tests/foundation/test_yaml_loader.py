import math
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from osm_probes.foundation import yaml_loader
from osm_probes.foundation.yaml_loader import MAX_DEPTH, MAX_NODES, YamlError, load_yaml
from osm_probes.foundation.yaml_schema import with_yaml11_booleans


def value_of(text: str) -> object:
    (document,) = load_yaml(text.encode())
    return document.value


def error_in(content: bytes) -> str:
    with pytest.raises(YamlError) as caught:
        list(load_yaml(content))
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", ""),
        ("~", ""),
        ("null", ""),
        ("true", True),
        ("FALSE", False),
        ("tRUE", "tRUE"),
        ("12", 12),
        ("-0", 0),
        ("+7", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("1.5", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("-.INF", -math.inf),
        ("9" * 19, int("9" * 19)),
        ("9" * 20, 1e20),
        ("9" * 5000, math.inf),
        # Texts in YAML 1.2, or with different meanings in YAML 1.1 and 1.2.
        ("1:30", "1:30"),
        ("1:1:1.5", "1:1:1.5"),
        ("190:20:30", "190:20:30"),
        ("2024-01-01", "2024-01-01"),
        ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
        ("010", "010"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("-0x1F", "-0x1F"),
        ("0x" + "f" * 17, "0x" + "f" * 17),
        ("'12'", "12"),
        ('"~"', "~"),
        ("! 12", "12"),
        ("!!str 12", "12"),
        ("!!str", ""),
        ("!!int 12", 12),
        ("!!int '12'", 12),
        ("!!float 12", 12.0),
        ("!!bool 'true'", True),
        ("=", "="),
    ],
)
def test_a_value_is_read_by_the_core_schema(text: str, value: object) -> None:
    found = value_of(f"a: {text}")
    expected = {} if value == "" and text in {"", "~", "null"} else {"a": value}
    assert found == expected
    assert [type(item) for item in found.values()] == [type(item) for item in expected.values()]


def test_not_a_number_is_a_number() -> None:
    assert math.isnan(float(str(value_of(".nan"))))


@pytest.mark.parametrize("text", ["y", "Yes", "NO", "on", "off", "n"])
def test_a_boolean_of_yaml_1_1_is_a_text_that_knows_what_kubectl_reads(text: str) -> None:
    (document,) = load_yaml(f"- x\n- {text}\n- [&a {text}, *a]".encode())
    assert document.value == ["x", text, [text, text]]
    assert document.yaml11_booleans == {2: text, 3: text}
    boolean = text.lower() in {"y", "yes", "on"}
    assert with_yaml11_booleans(document.value) == ["x", boolean, [boolean, boolean]]


def test_a_quoted_or_tagged_yes_is_only_a_text() -> None:
    (document,) = load_yaml(b"- 'yes'\n- !!str on\n- |-\n off")
    assert document.value == ["yes", "on", "off"]
    assert not document.yaml11_booleans


def test_keys_are_texts_as_kubectl_makes_them() -> None:
    assert value_of("80: a\ntrue: b\n'c': d\n&e f: g") == {"80": "a", "true": "b", "c": "d", "f": "g"}


def test_nulls_in_lists_and_maps_are_left_out() -> None:
    assert value_of("{a: ~, b: [~, 1, ''], c: {d: }}") == {"b": [1, ""], "c": {}}


def test_documents_are_numbered() -> None:
    documents = load_yaml(b"a\n---\n---\nb\n...\n%YAML 1.1\n---\nc\n")
    assert [(document.number, document.value) for document in documents] == [(1, "a"), (2, None), (3, "b"), (4, "c")]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<<: *b, y: 3", {"x": 1, "y": 3}),
        ("y: 3, <<: *b", {"x": 1, "y": 3}),
        ("<<: [{x: 9}, *b]", {"x": 9, "y": 2}),
        ("<<: []", {}),
        ("<<: *b, x: ~", {"y": 2}),
        ("'<<': *b", {"<<": {"x": 1, "y": 2}}),
    ],
)
def test_merge_keys_add_what_a_map_does_not_have(text: str, value: object) -> None:
    found = value_of(f"{{base: &b {{x: 1, y: 2}}, it: {{{text}}}}}")
    assert isinstance(found, dict)
    assert found["it"] == value


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: !!bool maybe", "line 1: 'maybe' is not of the type !!bool"),
        ("a: !!bool yes", "line 1: 'yes' is not of the type !!bool"),
        ("a: !!int ''", "line 1: '' is not of the type !!int"),
        ("a: !!int 1.5", "line 1: '1.5' is not of the type !!int"),
        ("a: !!float x", "line 1: 'x' is not of the type !!float"),
        ("a: !!float true", "line 1: 'true' is not of the type !!float"),
        ("a: !!null x", "line 1: 'x' is not of the type !!null"),
        ("a:\n- !!timestamp foo", "line 2: the tag '!!timestamp' is not supported: write the value without it"),
        ("a: !!timestamp 2024-01-01", "line 1: the tag '!!timestamp' is not supported"),
        ("a: !!binary aGk=", "line 1: the tag '!!binary' is not supported"),
        ("a: !!set {b}", "line 1: the tag '!!set' is not supported"),
        ("a: !!omap []", "line 1: the tag '!!omap' is not supported"),
        ("a: !!seq {}", "line 1: the tag '!!seq' is not supported"),
        ("a: !!python/object/apply:os.system [x]", "line 1: the tag '!!python/object/apply:os.system' is not"),
        ("a: !own b", "line 1: the tag '!own' is not supported"),
        ("a: !<tag:example.com,2000:b> c", "line 1: the tag 'tag:example.com,2000:b' is not supported"),
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' is defined twice in one map"),
        ("- {80: a, '80': b}", "line 1: the key '80' is defined twice in one map"),
        ("<<: {a: 1}\n<<: {b: 1}", "line 2: the key '<<' is defined twice in one map"),
        ("~: a", "line 1: a key must be a text, and not null"),
        ("{null: a}", "line 1: a key must be a text, and not null"),
        ("[a]: b", "line 1: a key must be a text, not a list or a map"),
        ("? {a: b}\n: c", "line 1: a key must be a text, not a list or a map"),
        ("- &a 1\n- *a : b", "line 2: a key must be a text, and not null"),
        ("{<<: 1}", "line 1: the value of << must be a map or a list of maps"),
        ("{<<: [1]}", "line 1: the value of << must be a map or a list of maps"),
        ("a: *b", "line 1: the alias *b has no anchor before it"),
        ("- &a b\n---\n*a", "document 2, line 3: the alias *a has no anchor before it"),
        ("a: &a\n  b: *a", "line 2: the alias *a is inside its own anchor"),
        ("a: [", "line 1: while parsing a flow node: did not find expected node content"),
        ("a: 'b\n\n\n", "line 3: while scanning a quoted scalar: found unexpected end of stream"),
        ("a: b: c", "line 1: mapping values are not allowed in this context"),
        ("a:\n\tb", "line 2: while scanning for the next token: found character that cannot start any token"),
        ("a\n\n\u0007", "line 3: the character #x0007 is not permitted"),
        ('"\\ud800"', "line 1: while parsing a quoted scalar: found invalid Unicode character escape code"),
        ("%YAML 3.0\n--- a", "line 1: found incompatible YAML document"),
        ("%FOO\n--- a", "line 1: while scanning a directive"),
    ],
)
def test_an_error_names_the_document_and_the_line(text: str, error: str) -> None:
    found = error_in(text.encode())
    assert found.startswith("document ")
    assert error in found


def test_text_that_is_not_utf_8_is_an_error() -> None:
    assert error_in(b"a: b\nc: \xff") == "line 2: byte 0xff is not UTF-8"
    assert "not UTF-8" in error_in("a: b".encode("utf-16"))


def test_a_byte_order_mark_is_skipped() -> None:
    assert value_of("\ufeffa: b") == {"a": "b"}


def test_an_error_text_is_short() -> None:
    for text in (
        "&" + "a" * 100_000 + " x: *b" + "b" * 100_000,
        "!<" + "a" * 100_000 + "> b",
        "a: !!int " + "a" * 100_000,
    ):
        assert len(error_in(text.encode())) < 400


def merge_bomb(levels: int) -> str:
    lines = [f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, levels)]
    return "\n".join(["a0: &a0 {x: 1}", *lines])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[" * 100_000, f"nested too deep: more than {MAX_DEPTH} levels"),
        ("{a: " * 100_000, f"nested too deep: more than {MAX_DEPTH} levels"),
        ("- " * 100_000, f"nested too deep: more than {MAX_DEPTH} levels"),
        (merge_bomb(8), f"the text has more than {MAX_NODES} nodes, its aliases expanded"),
        ("a: &a [b, c]\n" + "\n".join(f"a{n}: &a [{'*a, ' * 9}*a]" for n in range(9)), "inside its own anchor"),
        ("%TAG !a! b\n" * 600_000 + "--- a", "more than 16 lines begin with %"),
        ("\r".join(f"%TAG !a{n}! b" for n in range(100_000)), "more than 16 lines begin with %"),
    ],
)
def test_a_text_that_would_take_long_is_refused_at_once(text: str, error: str) -> None:
    start = time.thread_time()
    assert error in error_in(text.encode())
    # The processor time of this thread: with PyYAML's loader, they take from seconds to days.
    assert time.thread_time() - start < 2


@pytest.mark.parametrize("text", ["- a\n" * 100, "--- a\n" * 51, "- &a [a, a]\n- [*a, *a]\n- a\n" + "- *a\n" * 30])
def test_the_nodes_of_all_documents_are_limited(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_loader, "MAX_NODES", 100)
    assert "the text has more than 100 nodes" in error_in(text.encode())


_scalars = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text()
_values = st.recursive(_scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value if item is not None]
    return value


@given(_values)
def test_what_pyyaml_writes_is_read_as_it_was(value: object) -> None:
    # With explicit quotes, because its writer follows YAML 1.1.
    text = yaml.dump(value, default_style='"', allow_unicode=True, Dumper=yaml.SafeDumper)
    (document,) = load_yaml(text.encode())
    assert document.value == _without_nulls(value)
