"""What engines report -> the program's metric families, with upstream's names where the thing exists here.

Upstream's counters end in `_count`, which a Counter cannot: they are gauges here that only rise. Its labels proxy_uuid
and identity are left out: they grow without bound in a large mesh.
"""

from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import generate_latest

from osm_probes import __version__
from osm_probes.snapshot.snapshot import short_name

_LAG_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0)
_BUCKETS: Final = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0)


class ProgramMetrics:
    """The families of both programs; `text()` is what the judge asks for."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
        self.registry = CollectorRegistry()
        version = Gauge("osm_version_info", "The version of this program", ["version"], registry=self.registry)
        version.labels(__version__).set(1)
        self.lag = Histogram(
            "osm_event_loop_lag_seconds",
            "Seconds by which the event loop was late for its beat, four times a second",
            buckets=_LAG_BUCKETS,
            registry=self.registry,
        )
        self.issued = Gauge("osm_cert_issued_count", "Certificates issued since the start", registry=self.registry)
        self.watch_ages: Callable[[], Mapping[str, float]] = dict
        self._watch_age = Gauge(
            "osm_kubernetes_watch_age_seconds",
            "Seconds since the API server last said something about a kind of objects; up to 60 where nothing changes",
            ["kind"],
            registry=self.registry,
        )
        self._api_events = Gauge(
            "osm_k8s_api_event_count",
            "What watches of the API server brought, by kind: added, modified, deleted, listed, failed",
            ["kind", "type"],
            registry=self.registry,
        )

    def text(self) -> str:
        """All families in Prometheus' text format."""
        for kind, age in self.watch_ages().items():
            self._watch_age.labels(kind).set(age)
        return generate_latest(self.registry).decode()

    def watched(self, kind: str, event: str, /) -> None:
        """Count what a watch of the Kubernetes API brought."""
        self._api_events.labels(kind, event).inc()


class ControllerMetrics(ProgramMetrics):
    """What the ADS did. Its events come by name, from a closed set."""

    def __init__(self) -> None:
        super().__init__()
        self.connected = self._gauge("osm_proxy_connect_count", "Proxies connected now")
        self._events = {
            "reconnected": self._gauge("osm_proxy_reconnect_count", "Proxies that came back"),
            "capped": self._gauge("osm_proxy_max_connections_rejected", "Streams refused because all places are taken"),
            "broadcast": self._gauge("osm_proxy_broadcast_event_count", "Changes told to proxies"),
        }
        self._by_type = {
            "requested": self._gauge("osm_proxy_xds_request_count", "Requests of proxies", "type"),
            "sent": self._gauge("osm_proxy_response_send_success_count", "Responses sent", "type"),
            "unsent": self._gauge("osm_proxy_response_send_error_count", "Responses that could not be sent", "type"),
            "rejected": self._gauge("osm_proxy_rejected_count", "Versions that a proxy rejected (NACK)", "type"),
        }
        self._took = Histogram(
            "osm_proxy_config_update_time",
            "Seconds until a proxy had taken a response from the wire",
            ["resource_type", "success"],
            buckets=_BUCKETS,
            registry=self.registry,
        )

    def count(self, event: str, *, type_url: str = "", seconds: float = 0.0) -> None:
        """Count an event of the ADS; those without a family are ignored."""
        if event in ("connected", "reconnected"):
            self.connected.inc()
        elif event == "disconnected":
            self.connected.dec()
        if event in self._events:
            self._events[event].inc()
        if event in self._by_type:
            kind = short_name(type_url)
            self._by_type[event].labels(kind).inc()
            if event in ("sent", "unsent"):
                self._took.labels(kind, str(event == "sent").lower()).observe(seconds)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)


class InjectorMetrics(ProgramMetrics):
    """What the webhook answered."""

    def __init__(self) -> None:
        super().__init__()
        self._reviews = Counter(
            "osm_admission_webhook_response",
            "Reviews answered, by kind and whether without an error",
            ["kind", "success"],
            registry=self.registry,
        )

    def reviewed(self, *, kind: str, success: bool) -> None:
        """Count a review."""
        self._reviews.labels(kind, str(success).lower()).inc()
