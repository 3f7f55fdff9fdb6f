"""The metric families that both programs have, with upstream's names where the same thing exists here.

Upstream's counters end in `_count`, which prometheus_client does not allow for a Counter: they are gauges here that
never decrease. Upstream's labels proxy_uuid and identity are left out, because they grow without bound in a large mesh.
"""

from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import generate_latest

from osm_probes import __version__

_LAG_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0)


class ProgramMetrics:
    """The families of both programs. The judge asks for `text()`."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the one untyped function of its package
        self.registry = CollectorRegistry()
        version = Gauge("osm_version_info", "The version of this program", ["version"], registry=self.registry)
        version.labels(__version__).set(1)
        self.lag = Histogram(
            "osm_event_loop_lag_seconds",
            "Delay of the event loop's heartbeat in seconds, measured four times a second",
            buckets=_LAG_BUCKETS,
            registry=self.registry,
        )
        self.issued = Gauge("osm_cert_issued_count", "Certificates issued since the start", registry=self.registry)
        self.watch_ages: Callable[[], Mapping[str, float]] = dict
        self._watch_age = Gauge(
            "osm_kubernetes_watch_age_seconds",
            "Seconds since the API server last sent something about a kind of objects; up to 60 without changes",
            ["kind"],
            registry=self.registry,
        )
        self._api_events = Gauge(
            "osm_k8s_api_event_count",
            "Results of API server watches, by kind and type: added, modified, deleted, listed, failed",
            ["kind", "type"],
            registry=self.registry,
        )

    def text(self) -> str:
        """All families in Prometheus' text format."""
        for kind, age in self.watch_ages().items():
            self._watch_age.labels(kind).set(age)
        return generate_latest(self.registry).decode()

    def watched(self, kind: str, event: str, /) -> None:
        """Count an event of a watch of the Kubernetes API."""
        self._api_events.labels(kind, event).inc()
