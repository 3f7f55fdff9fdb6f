"""Health: a probe's verdict in JSON, as the judge answers it and `osm probe` reads it."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct


class CheckVerdict(Struct):
    """A check's word in JSON; `seconds` it took."""

    name: str
    healthy: bool
    reason: str
    seconds: float


class Verdict(Struct):
    """A probe's answer in JSON; `transitions` are the newest, oldest first."""

    probe: str
    healthy: bool
    since: datetime | None = None
    checks: list[CheckVerdict] = []
    warnings: Sequence[str] = ()
    transitions: list[dict[str, object]] = []
