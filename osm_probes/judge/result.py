"""The result of a probe, and its forms: bare for a kubelet, a line a check for people, JSON for programs."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from typing import Final

import msgspec

from osm_probes.foundation.text import one_line
from osm_probes.health.checks import CheckResult
from osm_probes.health.messages import Transition
from osm_probes.health.verdict import CheckVerdict, Verdict

_NAMES: Final = {"ads": "ADS"}
_KINDS: Final = {"alive": "Liveness", "ready": "Readiness"}


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The results of a probe's checks, in the contract's order. A program that has never served does not respond."""

    probe: str
    checks: tuple[CheckResult, ...]
    responds: bool = True

    @property
    def healthy(self) -> bool:
        """The verdict: whether every check said yes."""
        return self.responds and all(check.healthy for check in self.checks)

    @property
    def status(self) -> HTTPStatus:
        """The verdict as an HTTP status."""
        return HTTPStatus.OK if self.healthy else HTTPStatus.SERVICE_UNAVAILABLE

    @property
    def first_failure(self) -> CheckResult:
        """The first check that said no; one without a name if none did."""
        return next((check for check in self.checks if not check.healthy), CheckResult(""))

    @property
    def detailed(self) -> "ProbeResult":
        """The same result for the debug port: each reason is the whole one, with names."""
        return replace(self, checks=tuple(replace(each, reason=each.detail or each.reason) for each in self.checks))

    def bare(self, *, ok: str) -> str:
        """The contract's sentence: `ok`, or the first check that fails."""
        if self.healthy:
            return ok
        name = self.first_failure.name
        return f"{_KINDS[self.probe]} probe for {_NAMES.get(name, name)} indicates it is not {self.probe}"

    def verbose(
        self, *, excluded: Collection[str], known: Collection[str], ok: str, warnings: Sequence[str] = ()
    ) -> str:
        """A line for each check, in Kubernetes' form, then the warnings, and the bare sentence last.

        known: all checks that the probe has.
        """
        lines = [_line(check) for check in self.checks]
        lines += [f"[+]{name} excluded" for name in known if name in excluded]
        lines += [f"warn: no check {one_line(name)} to exclude" for name in sorted(set(excluded) - set(known))]
        lines += [f"warn: {warning}" for warning in warnings]
        return "\n".join([*lines, self.bare(ok=ok)])

    def json(self, *, since: datetime | None, transitions: Sequence[Transition], warnings: Sequence[str] = ()) -> str:
        """The result as `health.verdict.Verdict`; since: when the probe got this verdict."""
        checks = [CheckVerdict(each.name, each.healthy, each.reason, round(each.took, 4)) for each in self.checks]
        verdict = Verdict(
            probe=self.probe,
            healthy=self.healthy,
            since=since,
            checks=checks,
            warnings=warnings,
            transitions=[msgspec.structs.asdict(transition) for transition in transitions],
        )
        return msgspec.json.encode(verdict).decode()


def _line(check: CheckResult) -> str:
    return f"[+]{check.name} ok" if check.healthy else f"[-]{check.name} failed: {check.reason}"
