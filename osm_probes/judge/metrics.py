"""Results, requests and expiries -> the judge's own metric families, which a hanging program cannot silence."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import generate_latest

from osm_probes.health.messages import Transition
from osm_probes.judge.result import ProbeResult

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class JudgeMetrics:
    """The judge's metric families. Their names differ from the program's, so that the two texts make one."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the one untyped function of its package
        self._registry = CollectorRegistry()
        self._check = Gauge(
            "osm_health_check",
            "1 if the check passed the last time it ran, 0 if it failed",
            ["probe", "check"],
            registry=self._registry,
        )
        self._duration = Histogram(
            "osm_health_check_duration_seconds",
            "Duration of a readiness check, in seconds",
            ["check"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._transitions = Counter(
            "osm_health_transitions",
            "Changes of a probe's verdict, in both directions",
            ["probe"],
            registry=self._registry,
        )
        for probe in ("alive", "ready"):
            self._transitions.labels(probe)  # at 0, so that the first one is an increase
        self._expiry = Gauge(
            "osm_certificate_expiry_seconds",
            "Seconds until a certificate in use expires; negative afterwards",
            ["kind"],
            registry=self._registry,
        )
        self._requests = Counter(
            "osm_probe_requests",
            "Probe requests by path and status; none = no response",
            ["path", "code"],
            registry=self._registry,
        )
        self._up = Gauge(
            "osm_program_up", "1 if the program returned its own metrics, 0 if not", registry=self._registry
        )

    def observe(self, result: ProbeResult) -> None:
        """Take the newest result of a probe."""
        for check in result.checks:
            self._check.labels(result.probe, check.name).set(result.responds and check.healthy)
            if result.probe == "ready":  # alive only reads shared memory, twice a second
                self._duration.labels(check.name).observe(check.took)

    def count_transition(self, transition: Transition) -> None:
        """Count a transition."""
        self._transitions.labels(transition.probe).inc()

    def count_request(self, path: str, code: str) -> None:
        """Count a request. Both labels come from closed sets, since clients may send any path."""
        self._requests.labels(path, code).inc()

    def text(self, program: str | None, *, expiries: Mapping[str, datetime]) -> str:
        """The program's metrics, None if it does not answer, and the judge's."""
        now = datetime.now(UTC)
        for kind, ends in expiries.items():
            self._expiry.labels(kind).set((ends - now).total_seconds())
        self._up.set(program is not None)
        return (program or "") + generate_latest(self._registry).decode()
