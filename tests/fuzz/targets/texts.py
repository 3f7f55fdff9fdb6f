"""Texts of users: annotations, regular expressions, durations and names."""

import contextlib
from collections.abc import Iterator

from hypothesis import strategies as st

from osm_probes.admission.annotations import BadAnnotationError, parse_enabled, parse_ip_ranges, parse_ports
from osm_probes.foundation.durations import seconds_of
from osm_probes.sources.regex import MAX_PROGRAM_SIZE, compile_regex
from tests.fuzz.target import Check, FuzzTarget
from tests.sources.regexes import REGEX_PIECES

_PIECES = st.sampled_from(
    [",", " ", "0", "1", "65535", "65536", "10.0.0.0/8", "/33", "::1", "-1", "٣", "h", "1.5m", "ns"]
)
_regexes = st.text(max_size=30) | st.lists(st.sampled_from(REGEX_PIECES), max_size=30).map("".join)


@contextlib.contextmanager
def _regex() -> Iterator[Check]:
    def check(text: str) -> None:
        program = compile_regex(text)
        assert 0 <= program.size <= MAX_PROGRAM_SIZE
        assert len(program.problem) < 1000

    yield check


@contextlib.contextmanager
def _annotations() -> Iterator[Check]:
    def check(text: str) -> None:
        for parse in (parse_ports, parse_ip_ranges):
            with contextlib.suppress(BadAnnotationError):
                parse({"a": text}, "a")
        with contextlib.suppress(BadAnnotationError):
            parse_enabled({"a": text}, "a", of="x")
        with contextlib.suppress(ValueError):
            assert seconds_of(text) >= 0

    yield check


TARGETS = (
    FuzzTarget("regex", _regexes, _regex),
    FuzzTarget("annotations", st.text(max_size=80) | st.lists(_PIECES, max_size=20).map("".join), _annotations),
)
