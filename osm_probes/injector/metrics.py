"""What the webhook answered -> the injector's metric families."""

from prometheus_client import Counter

from osm_probes.runtime.metrics import ProgramMetrics


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
