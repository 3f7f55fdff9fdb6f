import json
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osm_probes.kube.shallow import without_deep_parts
from osm_probes.kube.wire import decode_object, decode_page, decode_watch_event

DEEP = b"[" * 9000 + b'"]}\\""' + b"]" * 9000
OBJECT = b'{"metadata":{"name":"a"},"x":' + DEEP + b',"y":{"z":[1]}}'


def test_an_event_of_any_depth_is_decoded() -> None:
    event = decode_watch_event(b'{"type":"ADDED","object":' + OBJECT + b"}")
    assert decode_object(event.object).metadata.name == "a"
    assert decode_object(OBJECT).metadata.name == "a"


def test_a_page_with_an_object_of_any_depth_has_all_its_objects() -> None:
    content = b'{"metadata":{"resourceVersion":"7"},"items":[%b,{"metadata":{"name":"b"}}]}' % OBJECT
    page = decode_page(content)
    assert page.metadata.resource_version == "7"
    assert [decode_object(item).metadata.name for item in page.items or ()] == ["a", "b"]


def test_what_is_not_nested_too_deep_is_kept() -> None:
    kept = json.loads(without_deep_parts(OBJECT))
    assert (kept["metadata"], kept["y"]) == ({"name": "a"}, {"z": [1]})
    depth = 0
    while isinstance(kept, (list, dict)):
        depth, kept = depth + 1, kept["x"] if isinstance(kept, dict) else kept[0]
    assert (depth, kept) == (64, None)


@given(st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_that_is_not_deep_is_unchanged(value: object) -> None:
    content = json.dumps(value).encode()
    assert without_deep_parts(content) == content


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 5000, b"]" * 5000, b'"' * 5001, b'{"metadata":{"name":"\x80"}}'])
def test_what_is_not_json_is_a_decode_error(content: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_object(content)


def test_the_time_is_linear() -> None:
    start = time.thread_time()
    without_deep_parts(b"[" * 9000 + b'"a",' * 500_000 + b'"\\')
    assert time.thread_time() - start < 5
