import re

import pytest

from osm_probes.sources.pattern import checked


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".*",
        "/books/[0-9]+",
        "^(.*?;)?(type=insider)(;.*)?$",
        "(?P<n>a)(?i:b)",
        "[[:alpha:]]+",
        "[]a][^]a][+]+",
        "x{",
        r"\.\+\++",
        r"[\d-]\x7f",
        "a{2}b{3,}?c{0,1000}",
    ],
)
def test_an_expression_that_envoy_takes_is_taken(text: str) -> None:
    assert checked(text) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(", "is no regular expression: missing )"),
        ("[z-a]", "bad character range"),
        ("a**", "multiple repeat"),
        (r"\pL", "bad escape"),
        ("(" * 500 + ")" * 500, "is no regular expression: "),
        ("a{99999999999999999999}", "is no regular expression: "),
        ("a++", "what RE2"),
        ("a{3}+", "what RE2"),
        ("(?=a)", "what RE2"),
        ("(?<!a)", "what RE2"),
        ("(?>a)", "what RE2"),
        ("(?#a)", "what RE2"),
        (r"(a)\1", "what RE2"),
        (r"[\1]", "what RE2"),
        (r"a\Z", "what RE2"),
        ("a{1001}", "repeats more than 1000 times"),
        ("a{1,1001}", "repeats more than 1000 times"),
        ("a" * 1025, "longer than 1024"),
    ],
)
def test_an_expression_that_envoy_would_refuse_says_why(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        checked(text)
