"""A probe's verdict in JSON, as the judge answers it and `osm probe` reads it."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct


class CheckVerdict(Struct):
    """A check in JSON. seconds: how long it took."""

    name: str
    healthy: bool
    reason: str
    seconds: float


class Verdict(Struct):
    """A probe in JSON. since: when it got this verdict. transitions: the newest ones, oldest first."""

    probe: str
    healthy: bool
    since: datetime | None = None
    checks: list[CheckVerdict] = []
    warnings: Sequence[str] = ()
    transitions: list[dict[str, object]] = []
