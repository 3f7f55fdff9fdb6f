"""Vitals -> what they say about alive and ready: the contract's table, pure."""

import enum
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from osm_probes.health.checks import CheckResult
from osm_probes.health.heartbeat import HeartbeatReading
from osm_probes.health.lifecycle import Phase
from osm_probes.health.messages import DRAINING

UNSERVED: Final = "it has not served yet"
"""The reason of a no before the first yes."""


class Life(enum.Enum):
    """What liveness answers."""

    ALIVE = enum.auto()
    DEAD = enum.auto()
    UNBORN = enum.auto()
    """It has never served: no response."""


def life(reading: HeartbeatReading, *, heartbeat_limit: float) -> Life:
    """The verdict of liveness. A stop that was asked for is no death."""
    if not reading.has_served:
        return Life.UNBORN
    return Life.DEAD if death(reading, heartbeat_limit=heartbeat_limit) else Life.ALIVE


def death(reading: HeartbeatReading, *, heartbeat_limit: float) -> str:
    """Why a component that has served would need a restart; "" = it would not."""
    if reading.phase is Phase.FAILED:
        return "it has failed"
    if reading.beat_age > heartbeat_limit:
        return f"no beat for {reading.beat_age:.1f} s"
    return ""


def refusal(reading: HeartbeatReading, *, heartbeat_limit: float) -> str:
    """Why it serves nobody now, by its own word; "" = a dial decides."""
    if reading.phase is Phase.RECOVERING:
        return "it lost its listener and binds again"
    return death(reading, heartbeat_limit=heartbeat_limit)


def leaving(reading: HeartbeatReading) -> str:
    """Why no new work should be sent to it, though it serves; "" = send it."""
    return DRAINING if reading.phase in (Phase.DRAINING, Phase.STOPPED) else ""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """A probe's verdict with the reports that it rests on. No life yet = no response."""

    probe: str
    checks: tuple[CheckResult, ...]
    responds: bool = True

    @property
    def healthy(self) -> bool:
        """True if every check said yes."""
        return self.responds and all(report.healthy for report in self.checks)

    @property
    def status(self) -> HTTPStatus:
        """The verdict in HTTP's word."""
        return HTTPStatus.OK if self.healthy else HTTPStatus.SERVICE_UNAVAILABLE

    @property
    def culprit(self) -> CheckResult:
        """The first report that says no; one without a name if none does."""
        return next((report for report in self.checks if not report.healthy), CheckResult(""))
