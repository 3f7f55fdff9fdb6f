"""Configuration: flags as Go's pflag takes them, and those that both programs share."""

import argparse
import ipaddress
import re
import sys
from pathlib import Path
from typing import Final, NoReturn

from osm_probes.foundation.durations import seconds_of

_PLAIN: Final = re.compile(r"\d+(\.\d+)?")
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_TRUE: Final = {"1", "t", "true"}
_FALSE: Final = {"0", "f", "false"}
_LIMIT: Final = 24 * 3600.0


def boolean(text: str) -> bool:
    """`true`, `false` and Go's other forms of them."""
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def seconds(text: str) -> float:
    """A duration: plain seconds (`5`, `0.5`) or Go's form (`500ms`, `1m30s`); a day at most."""
    try:
        value = float(text) if _PLAIN.fullmatch(text) else seconds_of(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 5, 0.5, 500ms or 1m30s") from None
    if not 0 <= value <= _LIMIT:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 24h")
    return value


def port(text: str) -> int:
    """A TCP port; 0 means any free one."""
    number = whole(text)
    if number > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port between 0 and 65535")
    return number


def whole(text: str) -> int:
    """A whole number from 0 on."""
    if not text.isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


def address(text: str) -> str:
    """An IPv4 or IPv6 address to listen on."""
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no IP address") from None


def name(text: str) -> str:
    """A name as Kubernetes takes them: lower-case letters, digits, `-` and `.`."""
    if not re.fullmatch(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of lower-case letters, digits, '-' and '.'")
    return text


def label(text: str) -> str:
    """A name as Kubernetes takes them for namespaces: like `name`, but without dots, and 63 characters at most."""
    if not re.fullmatch(_LABEL, text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of at most 63 lower-case letters, digits and '-'")
    return text


def domain(text: str) -> str:
    """A trust domain: labels with dots between them."""
    if len(text) > 253 or not all(re.fullmatch(_LABEL, part) for part in text.split(".")):
        raise argparse.ArgumentTypeError(f"{text!r} is no domain such as cluster.local")
    # In it a service account osm-controller would have the controller's own name.
    if text.partition(".")[0] == "svc":
        raise argparse.ArgumentTypeError(f"{text!r} is where services' names are: take another")
    return text


def folder(text: str) -> Path:
    """A folder's path."""
    if not text:
        raise argparse.ArgumentTypeError("'' is no folder; the current one is '.'")
    return Path(text)


class WrongFlagsError(SystemExit):
    """A program was started with wrong flags: it ends with status 2. `words` say what is wrong."""

    def __init__(self, words: str) -> None:
        super().__init__(2)
        self.words = words


class _Page(argparse.RawDescriptionHelpFormatter):
    """A help page with room for the longest flag beside its text."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=38, width=110)


class FlagParser(argparse.ArgumentParser):
    """A parser whose flags take `--flag value`, `--flag=value`, and, where boolean, a bare `--flag`."""

    def __init__(self, program: str, description: str, epilog: str) -> None:
        super().__init__(
            program,
            usage="%(prog)s [flags]",
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=_Page,
        )

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end with status 2. Raises WrongFlagsError."""
        sys.stderr.write(f"{self.format_usage()}{self.prog}: error: {message}\nRun {self.prog} --help for all flags.\n")
        raise WrongFlagsError(message)


def add_switch(group: argparse._ArgumentGroup, flag: str, *, default: bool, help_text: str) -> None:
    """Add a boolean flag."""
    group.add_argument(
        flag, type=boolean, nargs="?", const=True, default=default, metavar="BOOL", help=f"{help_text} ({default})"
    )
