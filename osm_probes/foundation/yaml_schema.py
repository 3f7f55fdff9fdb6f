"""Unquoted text in YAML -> value, by the core schema of YAML 1.2: https://yaml.org/spec/1.2.2/#103-core-schema."""

import re
from collections.abc import Mapping
from typing import Final

_YAML_1_1_BOOLEANS: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "off", "Off", "OFF"), False),
}
# A number with a leading zero is a text: 010 is 8 in YAML 1.1 and 10 in YAML 1.2.
# An integer of more than 19 digits is a float, as in kubectl: Python refuses to convert thousands of digits.
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,18})|0o[0-7]{1,21}|0x[0-9a-fA-F]{1,16}")
_FLOAT: Final = re.compile(
    r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)


class Yaml11Boolean(str):
    """An unquoted `yes`, `no`, `on`, `off`, `y` or `n`: a text in YAML 1.2, a boolean for kubectl (YAML 1.1)."""

    __slots__ = ()

    @property
    def boolean(self) -> bool:
        """What kubectl reads."""
        return _YAML_1_1_BOOLEANS[self]


_WORDS: Final[Mapping[str, object]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **{text: Yaml11Boolean(text) for text in _YAML_1_1_BOOLEANS},
}


def plain_value(text: str) -> object:
    """The value of an unquoted text."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "-+.0123456789":
        return text
    if _INTEGER.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _FLOAT.fullmatch(text):
        return float(text[:-3].replace(".", "") + text[-3:] if text[-1] in "fFnN" else text)
    return text


def with_yaml11_booleans(value: object) -> object:
    """The value of a document as kubectl reads it: each Yaml11Boolean in it as a boolean."""
    if isinstance(value, dict):
        return {key: with_yaml11_booleans(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_yaml11_booleans(item) for item in value]
    return value.boolean if isinstance(value, Yaml11Boolean) else value
