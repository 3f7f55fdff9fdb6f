"""What the webhook answered -> the injector's metric families."""

from collections.abc import Callable

from prometheus_client import Counter

from osm_probes.admission.review import AdmissionRequest
from osm_probes.runtime.metrics import ProgramMetrics


class InjectorMetrics(ProgramMetrics):
    """The families of the webhook."""

    def __init__(self) -> None:
        super().__init__()
        self._reviews = Counter(
            "osm_admission_webhook_response",
            "Answered reviews, by kind and by whether there was no error",
            ["kind", "success"],
            registry=self.registry,
        )

    def reviewed(self, *, kind: str, success: bool) -> None:
        """Count a review."""
        self._reviews.labels(kind, str(success).lower()).inc()


class InjectorReviews:
    """Observes reviews: `on_arrival` is called for each, and the metrics count the answers."""

    def __init__(self, metrics: InjectorMetrics, *, on_arrival: Callable[[AdmissionRequest], None]) -> None:
        self._on_arrival = on_arrival
        self.reviewed = metrics.reviewed

    def arrived(self, request: AdmissionRequest) -> None:
        """A review of a new pod arrived, maybe in a dry run."""
        self._on_arrival(request)
