"""Regular expression of a manifest -> its size in RE2, or the reason why Envoy would reject it.

Envoy uses RE2 (https://github.com/google/re2/wiki/Syntax) and rejects all routes of a port if one expression is
invalid. Versions of RE2 differ a little: what not every one accepts is rejected here.
"""

import re
from dataclasses import dataclass
from typing import Final

import re2  # type: ignore[import-untyped]  # it has no type information

MAX_PROGRAM_SIZE: Final = 25_000
"""In RE2's instructions. A quarter of the limit in the bootstrap of proxies, because versions of RE2 differ."""
_MAX_LENGTH: Final = 1024
# It limits the time for one expression to about 6 ms, and permits more than MAX_PROGRAM_SIZE.
_MAX_COMPILER_MEMORY: Final = 2 * 1024 * 1024
_LATIN1: Final = re2.Options.Encoding.LATIN1
_UTF8: Final = re2.Options.Encoding.UTF8

# Of the kinds of named groups, all versions of RE2 accept only this one.
_NAMED_GROUP: Final = re.compile(r"\(\?P?<")
_PORTABLE_NAMED_GROUP: Final = re.compile(r"\(\?P<[A-Za-z0-9_]+>")
# Which classes exist depends on the version, and Envoy 1.40 needs seconds for some expressions with them.
_UNICODE_CLASS: Final = re.compile(r"(?<!\\)(?:\\\\)*\\[pP]")


@dataclass(frozen=True, slots=True)
class Program:
    """What RE2 makes of an expression. size: its instructions. problem: why Envoy would reject it, or ""."""

    size: int
    problem: str = ""


def compile_regex(text: str) -> Program:
    """Compile an expression with RE2. This takes about 6 ms for the largest ones, and blocks all threads."""
    shown = repr(text[:64])
    if len(text) > _MAX_LENGTH:
        return Program(0, f"a regular expression is longer than {_MAX_LENGTH} characters")
    if len(_NAMED_GROUP.findall(text)) > len(_PORTABLE_NAMED_GROUP.findall(text)):
        return Program(0, f"{shown} has a named group other than (?P<name>…) with an ASCII name: write (?:…)")
    if _UNICODE_CLASS.search(text):
        return Program(0, f"{shown} has a Unicode class, which not every Envoy knows: write ranges of characters")
    try:
        content = text.encode()
    except UnicodeEncodeError:
        return Program(0, f"{shown} is not Unicode text")
    # Envoy 1.40 reads an expression as bytes, and earlier versions read it as UTF-8.
    results = [_ask_re2(content, encoding) for encoding in (_LATIN1, _UTF8)]
    size, error = max(size for size, _ in results), next((error for _, error in results if error), "")
    if size > MAX_PROGRAM_SIZE:
        return Program(MAX_PROGRAM_SIZE, f"{shown} is too large: use fewer or smaller repetitions and classes")
    return Program(size, f"{shown} is not a regular expression for Envoy (RE2): {error}" if error else "")


def _ask_re2(content: bytes, encoding: object) -> tuple[int, str]:
    """The size of the program, and the error. Without enough memory, the size is above the maximum."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_COMPILER_MEMORY
    options.encoding = encoding
    try:
        return re2.compile(content, options).programsize, ""
    except re2.error as error:
        reason = error.args[0].decode(errors="backslashreplace")
        return (MAX_PROGRAM_SIZE + 1 if "too large" in reason else len(content)), reason[:128]
    finally:
        # Its cache would keep 128 expressions, of up to 2 MiB each.
        re2.purge()
