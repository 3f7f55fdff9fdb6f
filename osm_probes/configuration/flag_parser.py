"""Configuration: a flag parser that accepts the syntax of Go's pflag, and the converters of flag values.

A converter turns a flag's text into its value. It raises ArgumentTypeError; argparse adds the flag's name to the text.
"""

import argparse
import ipaddress
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from osm_probes.foundation.durations import seconds_of

_NUMBER: Final = re.compile(r"\d+(\.\d+)?")
_DNS_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DNS_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")
_TRUE: Final = {"1", "t", "true"}
_FALSE: Final = {"0", "f", "false"}
_MAX_DURATION: Final = 24 * 3600.0
_MAX_PAGE_WIDTH: Final = 110


def parse_boolean(text: str) -> bool:
    """Convert `true`, `false` or one of their other forms in Go: `t`, `f`, `1`, `0`."""
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is not true or false")


def parse_duration(text: str) -> float:
    """Convert a duration to seconds: a plain number of seconds (`5`, `0.5`) or Go's form (`500ms`, `1m30s`)."""
    try:
        seconds = float(text) if _NUMBER.fullmatch(text) else seconds_of(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 5, 0.5, 500ms or 1m30s") from None
    if not 0 <= seconds <= _MAX_DURATION:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 24h")
    return seconds


def parse_port(text: str) -> int:
    """Convert a TCP port; 0 means any free port."""
    port = parse_count(text)
    if port > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port between 0 and 65535")
    return port


def parse_count(text: str) -> int:
    """Convert a whole number that is not negative."""
    if not text.isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def parse_ip_address(text: str) -> str:
    """Convert an IPv4 or IPv6 address; an IPv6 address may be in brackets."""
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an IP address") from None


def parse_dns_subdomain(text: str) -> str:
    """Check a name of the form that Kubernetes requires for most objects: a DNS subdomain (RFC 1123)."""
    if not _DNS_SUBDOMAIN.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name of lower-case letters, digits, '-' and '.'")
    return text


def parse_dns_label(text: str) -> str:
    """Check a name of the form that Kubernetes requires for namespaces: a DNS label (RFC 1123)."""
    if not _DNS_LABEL.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name of at most 63 lower-case letters, digits and '-'")
    return text


def parse_trust_domain(text: str) -> str:
    """Check a trust domain: DNS labels with dots between them."""
    if len(text) > 253 or not all(_DNS_LABEL.fullmatch(part) for part in text.split(".")):
        raise argparse.ArgumentTypeError(f"{text!r} is not a domain such as cluster.local")
    # In such a domain the identity of a service account osm-controller would be the DNS name of the controller.
    if text.partition(".")[0] == "svc":
        raise argparse.ArgumentTypeError(f"{text!r} is the domain of Service names; choose another trust domain")
    return text


def parse_folder(text: str) -> Path:
    """Convert the path of a folder."""
    if not text:
        raise argparse.ArgumentTypeError("'' is not a folder; the current folder is '.'")
    return Path(text)


def parse_file(text: str) -> Path:
    """Convert the path of a file."""
    if not text:
        raise argparse.ArgumentTypeError("'' is not a file")
    return Path(text)


class WrongFlagsError(SystemExit):
    """A program got wrong flags, so it exits with status 2. `message` says what is wrong."""

    def __init__(self, message: str) -> None:
        super().__init__(2)
        self.message = message


class HelpFormatter(argparse.HelpFormatter):
    """Fit a help page to the terminal, up to a width that is still readable. Names with hyphens stay whole."""

    def __init__(self, prog: str) -> None:
        width = min(shutil.get_terminal_size().columns, _MAX_PAGE_WIDTH)
        super().__init__(prog, max_help_position=34, width=width)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)


class _FlagHelpFormatter(HelpFormatter, argparse.RawDescriptionHelpFormatter):
    """A HelpFormatter that keeps the line breaks of descriptions and examples."""


class FlagParser(argparse.ArgumentParser):
    """A parser whose flags accept `--flag value` and `--flag=value`; a boolean flag also accepts a bare `--flag`."""

    def __init__(self, program: str, description: str, epilog: str) -> None:
        super().__init__(
            program,
            usage="%(prog)s [flags]",
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=_FlagHelpFormatter,
        )

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse all flags. Raises WrongFlagsError, whose message has no values of unknown flags: one may be a token."""
        arguments, unknown = self.parse_known_args(argv)
        if unknown:
            self.error(f"unrecognized arguments: {_without_values(unknown)}")
        return arguments

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message on stderr, then exit with status 2. Raises WrongFlagsError."""
        sys.stderr.write(f"{self.format_usage()}{self.prog}: error: {message}\nRun {self.prog} --help for all flags.\n")
        raise WrongFlagsError(message)


def _without_values(arguments: Sequence[str]) -> str:
    """The names of the flags, and the number of the other arguments."""
    names = [argument.partition("=")[0] for argument in arguments if argument.startswith("--")]
    others = len(arguments) - len(names)
    return " ".join([*names, *([f"({others} without a flag's name)"] if others else [])])


def add_boolean_flag(group: argparse._ArgumentGroup, flag: str, *, default: bool, help_text: str) -> None:
    """Add a boolean flag; its default is appended to the help text."""
    group.add_argument(
        flag,
        type=parse_boolean,
        nargs="?",
        const=True,
        default=default,
        metavar="BOOL",
        help=f"{help_text} (default: {str(default).lower()})",
    )


def add_duration_flag(group: argparse._ArgumentGroup, flag: str, *, default: float, help_text: str) -> None:
    """Add a flag whose value is in seconds; its default is appended to the help text."""
    group.add_argument(
        flag, type=parse_duration, default=default, metavar="TIME", help=f"{help_text} (default: {default:g}s)"
    )
