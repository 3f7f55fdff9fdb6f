"""The messages between a program and its judge, over an inherited socket pair, one JSON line each."""

from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from osm_probes.foundation.errors import OsmError
from osm_probes.health.judge_state import JudgeState

LINE_LIMIT: Final = 16 << 20
"""The longest line that either side accepts, in bytes. A program's metrics are the longest."""


class JudgeBeat(Struct, frozen=True, tag=True):
    """Judge to program: I am alive."""


class PageRequest(Struct, frozen=True, tag=True):
    """Judge to program: send the page of this name, which only you can write."""

    name: str


class Page(Struct, frozen=True, tag=True):
    """Program to judge: a page, such as the metrics."""

    name: str
    text: str


METRICS: Final = "metrics"
"""The name of the page with the program's metrics, in Prometheus' text format."""


class Transition(Struct, frozen=True, kw_only=True, tag=True):
    """Judge to program: a probe's verdict changed.

    check, reason: why it fell; empty if it recovered. lasted: for how many seconds the probe had the verdict before.
    """

    at: datetime
    probe: str
    healthy: bool
    check: str = ""
    reason: str = ""
    lasted: float = 0.0


DRAINING: Final = "it is draining"
"""The reason of a transition to not ready because a stop was asked for."""

ToJudge = JudgeState | Page
ToProgram = JudgeBeat | PageRequest | Transition


class OversizedMessageError(OsmError):
    """A message is longer than the other side accepts; it was not sent."""


class MalformedMessageError(OsmError):
    """The other side sent something that is none of its messages."""


_for_judge: msgspec.json.Decoder[ToJudge] = msgspec.json.Decoder(ToJudge)
_for_program: msgspec.json.Decoder[ToProgram] = msgspec.json.Decoder(ToProgram)


def line_of(message: ToJudge | ToProgram) -> bytes:
    """The message as one line, its newline included. Raises OversizedMessageError."""
    line = msgspec.json.encode(message) + b"\n"
    if len(line) > LINE_LIMIT:
        raise OversizedMessageError(f"{type(message).__name__} of {len(line)} bytes")
    return line


def message_to_judge(line: bytes) -> ToJudge:
    """A line that the program sent. Raises MalformedMessageError."""
    try:
        return _for_judge.decode(line)
    except msgspec.DecodeError as error:
        raise MalformedMessageError(str(error)) from error


def message_to_program(line: bytes) -> ToProgram:
    """A line that the judge sent. Raises MalformedMessageError."""
    try:
        return _for_program.decode(line)
    except msgspec.DecodeError as error:
        raise MalformedMessageError(str(error)) from error
