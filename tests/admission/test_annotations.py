from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osm_probes.admission.annotations import BadAnnotationError, parse_enabled, parse_ip_ranges, parse_ports


@pytest.mark.parametrize(
    ("value", "enabled"),
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
def test_an_annotation_enables_disables_or_leaves_the_default(value: str, enabled: bool | None) -> None:  # noqa: FBT001 # a table's column
    assert parse_enabled({"key": value}, "key", of="the pod") is enabled


def test_a_missing_annotation_leaves_the_default() -> None:
    assert parse_enabled({}, "key", of="the pod") is None


def test_any_other_value_is_an_error_that_names_the_annotation() -> None:
    with pytest.raises(BadAnnotationError, match=r"annotation key of namespace x is 'on': use enabled"):
        parse_enabled({"key": "on"}, "key", of="namespace x")


def test_ports_are_separated_by_commas_and_spaces_are_ignored() -> None:
    assert parse_ports({"key": "22, 6379 ,65535"}, "key") == [22, 6379, 65535]
    assert parse_ports({}, "key") == []


@pytest.mark.parametrize("value", ["", "0", "65536", "-1", "+80", "8_0", "80,", "http", "٨٠", "80;22", "1" * 5000])
def test_an_invalid_port_is_an_error_that_names_the_annotation(value: str) -> None:
    with pytest.raises(BadAnnotationError, match="annotation key has"):
        parse_ports({"key": value}, "key")


def test_ip_ranges_are_normalised_for_iptables() -> None:
    ranges = parse_ip_ranges({"key": "10.1.2.3/8, 192.0.2.7, FD00:0::1/8,2001:db8::1"}, "key")
    assert ranges == ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8", "2001:db8::1/128"]


@pytest.mark.parametrize(
    "value",
    [
        *("", "10.0.0.0/33", "::/129", "host", "10.0.0.0/8 -j ACCEPT", "10.0.0.0/8\n-F", "fd00::/8 -j ACCEPT"),
        *("fe80::1%eth0", "fe80::1%\nEOF\nreboot\n", "fe80::%$(reboot)/64", "::ffff:10.0.0.0/104", "::ffff:0:0/96"),
    ],
)
def test_an_invalid_ip_range_is_an_error_that_names_the_annotation(value: str) -> None:
    with pytest.raises(BadAnnotationError, match="annotation key has"):
        parse_ip_ranges({"key": value}, "key")


@pytest.mark.parametrize("value", [",".join(["80"] * 501), "80," * 250_000, " " * 70_000])
def test_more_than_500_items_are_an_error_that_names_the_limit(value: str) -> None:
    for parse in (parse_ports, parse_ip_ranges):
        with pytest.raises(BadAnnotationError, match=r"annotation key has .* characters: use at most 500 items"):
            parse({"key": value}, "key")
    assert len(parse_ports({"key": ",".join(["80"] * 500)}, "key")) == 500


def test_a_long_invalid_value_is_shortened_in_the_error() -> None:
    with pytest.raises(BadAnnotationError, match=r"has 'x{64}'\.\.\. \(3000 characters\)"):
        parse_ports({"key": "x" * 3000}, "key")
    with pytest.raises(BadAnnotationError) as error:
        parse_enabled({"key": "x" * 3_000_000}, "key", of="the pod")
    assert len(str(error.value)) < 300


@given(st.text() | st.from_regex(r"[0-9a-f]{1,4}::[0-9a-f]{0,2}(%.{0,3})?(/[0-9]{1,2})?"))
def test_only_characters_of_ports_and_ip_ranges_reach_the_rules(value: str) -> None:
    parsers: tuple[Any, ...] = (parse_ports, parse_ip_ranges)
    for parse in parsers:
        try:
            parsed = parse({"key": value}, "key")
        except BadAnnotationError:
            continue
        assert set("".join(map(str, parsed))) <= set("0123456789abcdef.:/")
