"""Program <-> judge: their messages over an inherited socket pair, one JSON line each."""

from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from osm_probes.foundation.errors import OsmError
from osm_probes.health.judge_state import JudgeState

LINE_LIMIT: Final = 16 << 20
"""The longest line that either side takes, in bytes: a program's metrics are the longest."""


class Beat(Struct, frozen=True, tag=True):
    """The judge says: alive now."""


class TextRequest(Struct, frozen=True, tag=True):
    """The judge asks for a text that only the program can write, by its topic."""

    topic: str


class Text(Struct, frozen=True, tag=True):
    """A text of the program, such as its metrics."""

    topic: str
    text: str


METRICS: Final = "metrics"
"""The topic of the program's metrics, in Prometheus' text format."""


class Transition(Struct, frozen=True, kw_only=True, tag=True):
    """A probe's verdict changed: `check` and `reason` say why it fell, `lasted` how many s the one before had held."""

    at: datetime
    probe: str
    healthy: bool
    check: str = ""
    reason: str = ""
    lasted: float = 0.0


DRAINING: Final = "it is draining"
"""The reason of a transition to not ready because a stop was asked for."""

ToJudge = JudgeState | Text
ToProgram = Beat | TextRequest | Transition


class OversizedMessageError(OsmError):
    """A message is longer than the other side takes; it was not sent."""


class MalformedMessageError(OsmError):
    """The other side said something that is none of its messages."""


_for_judge: msgspec.json.Decoder[ToJudge] = msgspec.json.Decoder(ToJudge)
_for_program: msgspec.json.Decoder[ToProgram] = msgspec.json.Decoder(ToProgram)


def line_of(message: ToJudge | ToProgram) -> bytes:
    """The message as one line, its newline included. Raises OversizedMessageError."""
    line = msgspec.json.encode(message) + b"\n"
    if len(line) > LINE_LIMIT:
        raise OversizedMessageError(f"{type(message).__name__} of {len(line)} bytes")
    return line


def message_to_judge(line: bytes) -> ToJudge:
    """What the program said. Raises MalformedMessageError."""
    try:
        return _for_judge.decode(line)
    except msgspec.DecodeError as error:
        raise MalformedMessageError(str(error)) from error


def message_to_program(line: bytes) -> ToProgram:
    """What the judge said. Raises MalformedMessageError."""
    try:
        return _for_program.decode(line)
    except msgspec.DecodeError as error:
        raise MalformedMessageError(str(error)) from error
