import re

import pytest

from osm_probes.sources.regex import checked

TAKEN = [
    "^$",
    ".*",
    "/books/[0-9]+",
    "^(.*?;)?(type=insider)(;.*)?$",
    "(?P<n>a)(?i:b)",
    "[[:alpha:]]+",
    "[]a][^]a][+]+",
    "x{",
    r"\.\+\++",
    r"[\d-]\x7f",
    "(?i)a{2}b{3,}?c{0,900}",
    "[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}",
    "(?s).{998}",
    r"\W{998}",
    "(?i)[^k]{998}",
    "(?:(?:[^a]{9}){9}){9}",
]


@pytest.mark.parametrize("text", TAKEN)
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
        ("a{1001}", "longer than 1000"),
        ("a{1,1001}", "longer than 1000"),
        ("a{1001,}", "longer than 1000"),
        ("(a{40}){40}", "longer than 1000"),
        ("((){40}){40}", "longer than 1000"),
        ("a" * 1025, "longer than 1024"),
    ],
)
def test_an_expression_that_envoy_would_refuse_says_why(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        checked(text)
