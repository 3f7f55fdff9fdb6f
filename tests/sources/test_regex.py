import re
import time

import pytest

from osm_probes.sources.regex import MAX_PROGRAM_SIZE, compile_regex
from tests.sources.regexes import REJECTED_BY_ENVOY, VALID_REGEXES


@pytest.mark.parametrize("text", VALID_REGEXES)
def test_an_expression_that_envoy_accepts_is_valid(text: str) -> None:
    assert compile_regex(text).problem == ""


@pytest.mark.parametrize("text", REJECTED_BY_ENVOY)
def test_an_expression_that_envoy_would_reject_has_a_problem(text: str) -> None:
    assert compile_regex(text).problem


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("(", "'(' is not a regular expression for Envoy (RE2): missing ): ("),
        ("[[:alphanum:]]", "invalid character class range: [:alphanum:]"),
        ("(?=a)", "invalid perl operator: (?="),
        ("a{1001}", "invalid repetition size: {1001}"),
        ("/a\\\u2013", "invalid escape sequence: "),
        ("(?P<ä>x)", "has a named group other than (?P<name>…) with an ASCII name: write (?:…)"),
        ("(?<n>x)", "has a named group other than (?P<name>…)"),
        ("(?P<n>x)(?P<ä>x)", "has a named group other than (?P<name>…)"),
        (r"[\p{Greek}]", "has a Unicode class, which not every Envoy knows"),
        (r"\\\P{^Kawi}", "has a Unicode class, which not every Envoy knows"),
        ("[ĀĂĄĆĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮ]{1000}", "is too large: use fewer or smaller repetitions and classes"),
        ("a" * 1025, "longer than 1024 characters"),
        ("\ud800", "is not Unicode text"),
    ],
)
def test_the_problem_says_what_is_wrong(text: str, reason: str) -> None:
    assert re.search(re.escape(reason), compile_regex(text).problem)


@pytest.mark.parametrize("text", ["(?i)(?:" + r"\pL|" * 300 + ")", "(?:.{999}){9}", "(?i)[^k]{998}"])
def test_no_expression_blocks_for_long(text: str) -> None:
    # The time of this thread, not of the clock: other processes may use the processors.
    start = time.thread_time()
    assert compile_regex(text).size <= MAX_PROGRAM_SIZE
    assert time.thread_time() - start < 0.5
