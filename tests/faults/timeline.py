"""Truth and probes -> what was seen over time. All times are CLOCK_MONOTONIC's seconds, the same in every process."""

from dataclasses import dataclass

NOBODY = 0
"""The status of a probe that got no response."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One real client's try: whether it was served, and if not, why not."""

    start: float
    end: float
    ok: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe of one endpoint, by name: `alive`, or a readiness (`ready` and any other name)."""

    name: str
    start: float
    end: float
    status: int
    reason: str = ""

    @property
    def ok(self) -> bool:
        """What a kubelet makes of it."""
        return self.status == 200


@dataclass(frozen=True, slots=True)
class Timeline:
    """All that was seen of one row. `ended`: when the program was gone, and its `exit_status`; None = it was not."""

    samples: tuple[Sample, ...]
    probes: tuple[Probe, ...]
    injected: float
    healed: float
    ended: float | None = None
    exit_status: int | None = None
    broken: tuple[str, ...] = ()
    """What the row's own fault found wrong, such as memory that grew."""

    def probes_of(self, *, alive: bool) -> tuple[Probe, ...]:
        """The probes of liveness, or of readiness."""
        return tuple(probe for probe in self.probes if (probe.name == "alive") is alive)

    def during(self, asked: Sample | Probe) -> bool:
        """Whether it was asked within the fault."""
        return self.injected <= asked.start <= self.healed
