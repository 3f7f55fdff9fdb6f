from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from osm_probes.admission import annotations as annotation
from osm_probes.admission.annotations import BadAnnotationError


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("enabled", True),
        ("yes", True),
        ("True", True),
        ("disabled", False),
        ("NO", False),
        ("false", False),
        ("", None),
    ],
)
def test_a_switch_says_on_off_or_nothing(value: str, meant: bool | None) -> None:  # noqa: FBT001 # a table's column
    assert annotation.switch({"key": value}, "key", of="the pod") is meant


def test_a_switch_that_is_not_there_says_nothing() -> None:
    assert annotation.switch({}, "key", of="the pod") is None


def test_a_switch_with_another_value_is_refused_by_name() -> None:
    with pytest.raises(BadAnnotationError, match=r"annotation key of namespace x is 'on': say enabled"):
        annotation.switch({"key": "on"}, "key", of="namespace x")


def test_ports_are_separated_by_commas_and_blanks_do_not_matter() -> None:
    assert annotation.ports({"key": "22, 6379 ,65535"}, "key") == [22, 6379, 65535]
    assert annotation.ports({}, "key") == []


@pytest.mark.parametrize("value", ["", "0", "65536", "-1", "+80", "8_0", "80,", "http", "٨٠", "80;22", "1" * 5000])
def test_what_is_no_port_is_refused_by_name(value: str) -> None:
    with pytest.raises(BadAnnotationError, match="annotation key has"):
        annotation.ports({"key": value}, "key")


def test_ranges_come_out_as_iptables_wants_them() -> None:
    assert annotation.ranges({"key": "10.1.2.3/8, 192.0.2.7"}, "key") == ["10.0.0.0/8", "192.0.2.7/32"]


@pytest.mark.parametrize(
    "value", ["", "10.0.0.0/33", "::/0", "fd00::1", "host", "10.0.0.0/8 -j ACCEPT", "10.0.0.0/8\n-F"]
)
def test_what_is_no_range_is_refused_by_name(value: str) -> None:
    with pytest.raises(BadAnnotationError, match="annotation key has"):
        annotation.ranges({"key": value}, "key")


@given(some.text())
def test_nothing_but_ports_and_ranges_gets_into_the_rules(value: str) -> None:
    readers: tuple[Any, ...] = (annotation.ports, annotation.ranges)
    for read in readers:
        try:
            found = read({"key": value}, "key")
        except BadAnnotationError:
            continue
        assert set("".join(map(str, found))) <= set("0123456789./")
