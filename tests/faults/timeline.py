"""Samples and probes -> the timeline of a row. All times are CLOCK_MONOTONIC seconds, which all processes share."""

from dataclasses import dataclass

NO_RESPONSE = 0
"""The status of a probe that got no response."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One request of a real client: whether it was served, and if not, the reason."""

    start: float
    end: float
    ok: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe of one endpoint. name: `alive` for liveness; every other name is readiness."""

    name: str
    start: float
    end: float
    status: int
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether a kubelet counts the probe as a success."""
        return self.status == 200


@dataclass(frozen=True, slots=True)
class Timeline:
    """The observations of one row. ended, exit_status: the program's exit; None if it did not exit."""

    samples: tuple[Sample, ...]
    probes: tuple[Probe, ...]
    injected: float
    healed: float
    ended: float | None = None
    exit_status: int | None = None
    problems: tuple[str, ...] = ()
    """Problems that the row's own fault found, such as memory growth."""

    def probes_of(self, *, alive: bool) -> tuple[Probe, ...]:
        """The probes of liveness or of readiness."""
        return tuple(probe for probe in self.probes if (probe.name == "alive") is alive)

    def during(self, event: Sample | Probe) -> bool:
        """Whether it was sent during the fault."""
        return self.injected <= event.start <= self.healed
