"""Regular expressions of manifests: those that Envoy accepts, those that it rejects, and generated ones."""

import random

VALID_REGEXES = [
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
    r"\\p{L",
    r"\x{ff}\Qa.b\E\z",
    "a{99999999999999999999}",
    "/bücher/[à-ÿ]+",
]

# An earlier check of this project accepted them.
FORMERLY_ACCEPTED = [
    "/orders/[[:alphanum:]]+",
    "/a\\\u2013",
    "(?P<ä>x)",
    r"[\b]",
    "[[:^alphanum:]]",
    r"[^\x{100}]",
]

REJECTED_BY_ENVOY = [
    *FORMERLY_ACCEPTED,
    "(",
    "[z-a]",
    "a**",
    "a++",
    "a{3}+",
    "(?=a)",
    "(?<!a)",
    "(?>a)",
    "(?#a)",
    r"(a)\1",
    r"[\1]",
    r"a\Z",
    "a{1001}",
    "a{1,1001}",
    "a{1001,}",
    "(a{40}){40}",
]

REGEX_PIECES = [
    *"abk/.-_~^$|*+?()[]{},:=<>!#&% \t\0éß\u2013\u017f\u212a\U0001d4b3",
    *("{2}", "{0}", "{3,}", "{1,4}", "{900}", "{,3}", "*?", "+?", "??", "{2}?"),
    *("(?i)", "(?s:", "(?m)", "(?U)", "(?i-s:", "(?-i)", "(?:", "(?P<n>", "(?P<n1>", "(?P<ä>", "(?<n>", "(?=", "(?x)"),
    *(r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", r"\b", r"\B", r"\A", r"\z", r"\Z", r"\C", r"\pL", r"\PN", r"\p{Lu}"),
    *(r"\p{Greek}", r"\p{Kawi}", r"\p{Garay}", r"\p{^Lu}", r"\p{L", r"\Q", r"\E", r"\x41", r"\x{1F600}", r"\x{110000}"),
    *(
        r"\1",
        r"\0",
        r"\012",
        r"\08",
        r"\n",
        r"\t",
        r"\f",
        r"\v",
        r"\a",
        r"\e",
        r"\k",
        "\\\u2013",
        r"\é",
        r"\_",
        r"\-",
        "\\",
    ),
    *(
        "[a-z]",
        "[^/]",
        "[]a]",
        "[a-",
        "[[:alpha:]]",
        "[[:^digit:]]",
        "[[:alphanum:]]",
        "[[:",
        ":]]",
        "[\\b]",
        "[\\d-z]",
    ),
    *(
        "[[:word:]]",
        "[^\\W\\d]",
        "[à-ÿ]",
        "[\\pL\\d]",
        "[a-\\d]",
        "[\\Q]",
        "[é-é]",
        "[\u2013-\\x{3000}]",
        "[[=a=]]",
        "[[.a.]]",
    ),
]


def generated_regexes(count: int, *, seed: int) -> list[str]:
    """Texts of pieces of RE2's syntax and of other syntaxes, the same for the same seed."""
    source = random.Random(seed)
    return ["".join(source.choices(REGEX_PIECES, k=source.randint(1, 8))) for _ in range(count)]
