"""Strategies: bytes near valid ones, and JSON near valid JSON."""

import json
from typing import Any

from hypothesis import strategies as st

SCALARS: "st.SearchStrategy[Any]" = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["", "a" * 300, "yes", "-1", "65536", "::1", "10.0.0.0/8", "\0", "\u202e", "(", "[[:x:]]", "1ns"])
)
JSON: "st.SearchStrategy[Any]" = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def near_bytes(draw: st.DrawFn, valid: list[bytes]) -> bytes:
    """A valid text of which up to three parts are replaced, doubled or removed."""
    content = draw(st.sampled_from(valid))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 30)))
        middle = draw(st.binary(max_size=12) | st.just(content[start:end] * 2) | st.just(b""))
        content = content[:start] + middle + content[end:]
    return content


@st.composite
def near_json(draw: st.DrawFn, valid: list[Any]) -> Any:
    """Valid JSON of which up to three values are replaced by any JSON, or removed, or get another key."""
    value = json.loads(json.dumps(draw(st.sampled_from(valid))))
    for _ in range(draw(st.integers(0, 3))):
        _mutate(draw, value)
    return value


def _mutate(draw: st.DrawFn, value: Any) -> None:
    places = list(_places(value))
    if not places:
        return
    parent, key = draw(st.sampled_from(places))
    if draw(st.integers(0, 3)):
        parent[key] = draw(JSON)
    else:
        del parent[key]


def _places(value: Any) -> Any:
    """Each container and key in the value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from _places(item)
