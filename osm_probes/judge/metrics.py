"""Rulings, requests and expiries -> the judge's own metric families, which a hang of the program does not silence."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import generate_latest

from osm_probes.health.messages import Transition
from osm_probes.judge.result import ProbeResult

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class JudgeMetrics:
    """What the judge adds to the program's metrics: other families, so that the two texts make one."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the one untyped function of its package
        self._registry = CollectorRegistry()
        self._check = Gauge(
            "osm_health_check",
            "1 where a check said yes when last asked, 0 where no",
            ["probe", "check"],
            registry=self._registry,
        )
        self._duration = Histogram(
            "osm_health_check_duration_seconds",
            "Seconds until a check of readiness had answered",
            ["check"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._transitions = Counter(
            "osm_health_transitions",
            "Falls and recoveries of a probe's verdict",
            ["probe"],
            registry=self._registry,
        )
        for probe in ("alive", "ready"):
            self._transitions.labels(probe)  # at 0, so that the first one is an increase
        self._expiry = Gauge(
            "osm_certificate_expiry_seconds",
            "Seconds until a certificate in use expires; negative once it has",
            ["kind"],
            registry=self._registry,
        )
        self._requests = Counter(
            "osm_probe_requests",
            "Requests by path and status; none = no response",
            ["path", "code"],
            registry=self._registry,
        )
        self._up = Gauge("osm_program_up", "1 if the program told its own metrics, 0 if not", registry=self._registry)

    def ruled(self, result: ProbeResult) -> None:
        """Take a ruling."""
        for report in result.checks:
            self._check.labels(result.probe, report.name).set(result.responds and report.healthy)
            if result.probe == "ready":  # alive reads shared memory, twice a second
                self._duration.labels(report.name).observe(report.took)

    def changed(self, transition: Transition) -> None:
        """Count a transition."""
        self._transitions.labels(transition.probe).inc()

    def answered(self, path: str, code: str) -> None:
        """Count a request; both from closed sets, since anybody may send any path."""
        self._requests.labels(path, code).inc()

    def text(self, program: str | None, *, expiries: Mapping[str, datetime]) -> str:
        """The program's metrics and the judge's; None = the program does not answer."""
        now = datetime.now(UTC)
        for kind, ends in expiries.items():
            self._expiry.labels(kind).set((ends - now).total_seconds())
        self._up.set(program is not None)
        return (program or "") + generate_latest(self._registry).decode()
