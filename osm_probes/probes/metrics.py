"""Rulings and requests -> the judge's own metric families."""

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics
from prometheus_client.exposition import generate_latest

from osm_probes.probes.verdict import Ruling


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
        self._requests = Counter(
            "osm_probe_requests",
            "Requests by path and status; none = no response",
            ["path", "code"],
            registry=self._registry,
        )
        self._up = Gauge("osm_program_up", "1 if the program told its own metrics, 0 if not", registry=self._registry)

    def ruled(self, ruling: Ruling) -> None:
        """Take a ruling."""
        for report in ruling.reports:
            self._check.labels(ruling.probe, report.name).set(ruling.responds and report.healthy)

    def answered(self, path: str, code: str) -> None:
        """Count a request; both from closed sets, since anybody may send any path."""
        self._requests.labels(path, code).inc()

    def text(self, program: str | None) -> str:
        """The program's metrics and the judge's; None = the program does not answer."""
        self._up.set(program is not None)
        return (program or "") + generate_latest(self._registry).decode()
