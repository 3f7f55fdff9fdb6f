import re

import pytest

from osm_probes.sources.regex import check_regex
from tests.sources.regexes import VALID_REGEXES


@pytest.mark.parametrize("text", VALID_REGEXES)
def test_an_expression_that_envoy_accepts_is_valid(text: str) -> None:
    assert check_regex(text) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("(", "is not a regular expression: missing )"),
        ("[z-a]", "bad character range"),
        ("a**", "multiple repeat"),
        (r"\pL", "bad escape"),
        ("(" * 500 + ")" * 500, "is not a regular expression: "),
        ("a{99999999999999999999}", "is not a regular expression: "),
        ("a++", "has syntax that RE2"),
        ("a{3}+", "has syntax that RE2"),
        ("(?=a)", "has syntax that RE2"),
        ("(?<!a)", "has syntax that RE2"),
        ("(?>a)", "has syntax that RE2"),
        ("(?#a)", "has syntax that RE2"),
        (r"(a)\1", "has syntax that RE2"),
        (r"[\1]", "has syntax that RE2"),
        (r"a\Z", "has syntax that RE2"),
        ("a{1001}", "longer than 1000"),
        ("a{1,1001}", "longer than 1000"),
        ("a{1001,}", "longer than 1000"),
        ("(a{40}){40}", "longer than 1000"),
        ("((){40}){40}", "longer than 1000"),
        ("a" * 1025, "longer than 1024"),
    ],
)
def test_an_expression_that_envoy_would_reject_is_an_error_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        check_regex(text)
