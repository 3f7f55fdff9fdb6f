"""What the ADS did -> the controller's metric families."""

from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import Gauge, Histogram

from osm_probes.controller.delays import Delays
from osm_probes.runtime.metrics import ProgramMetrics
from osm_probes.snapshot.snapshot import PUSH_ORDER, short_name

_BUCKETS: Final = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0)


class ControllerMetrics(ProgramMetrics):
    """The families of the ADS. Events come by name, from the closed set `ads.events.Event`."""

    def __init__(self) -> None:
        super().__init__()
        self.connected = self._gauge("osm_proxy_connect_count", "Proxies that are connected now")
        self._events = {
            "reconnected": self._gauge("osm_proxy_reconnect_count", "Proxies that reconnected"),
            "capped": self._gauge(
                "osm_proxy_max_connections_rejected",
                "Streams refused because the maximum number of proxies is connected",
            ),
            "broadcast": self._gauge("osm_proxy_broadcast_event_count", "Changes that were announced to proxies"),
        }
        self._by_type = {
            "requested": self._gauge("osm_proxy_xds_request_count", "xDS requests from proxies", "type"),
            "sent": self._gauge("osm_proxy_response_send_success_count", "xDS responses sent", "type"),
            "unsent": self._gauge(
                "osm_proxy_response_send_error_count", "xDS responses that could not be sent", "type"
            ),
            "rejected": self._gauge(
                "osm_proxy_rejected_count", "Resource versions that a proxy rejected (NACK)", "type"
            ),
            "stuck ended": self._gauge(
                "osm_proxy_stuck_ended_count", "Streams ended because the proxy did not answer a response", "type"
            ),
        }
        self.stuck: Callable[[], Mapping[str, int]] = dict
        self.rejecting: Callable[[], Mapping[str, int]] = dict
        self._stuck = self._gauge(
            "osm_proxy_stuck_count", "Streams now whose proxy has not answered a response for 60 s", "type"
        )
        self._rejecting = self._gauge(
            "osm_proxy_rejecting_count",
            "Proxies now that use an old configuration because they rejected a newer one",
            "type",
        )
        self.delays: Delays | None = None
        self._waiting = self._gauge(
            "osm_proxy_first_config_wait_seconds",
            "Seconds for which the proxies that wait longest have waited for their first configuration",
        )
        self._update = self._gauge(
            "osm_proxy_update_delay_seconds", "Seconds for which the oldest change has not reached the proxies"
        )
        self._took = Histogram(
            "osm_proxy_config_update_time",
            "Seconds until a response was written to a proxy's connection",
            ["resource_type", "success"],
            buckets=_BUCKETS,
            registry=self.registry,
        )

    def count(self, event: str, *, type_url: str = "", seconds: float = 0.0) -> None:
        """Count an event of the ADS. Events without a family are ignored."""
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

    def text(self) -> str:
        """All families in Prometheus' text format."""
        if self.delays is not None:
            self._waiting.set(self.delays.first)
            self._update.set(self.delays.update)
        for gauge, counts in ((self._stuck, self.stuck()), (self._rejecting, self.rejecting())):
            for type_url in PUSH_ORDER:
                gauge.labels(short_name(type_url)).set(counts.get(type_url, 0))
        return super().text()

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)
