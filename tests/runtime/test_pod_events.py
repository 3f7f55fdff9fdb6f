from datetime import UTC, datetime

import pytest

from osm_probes.health.messages import Transition
from osm_probes.kube.event_object import Severity
from osm_probes.runtime.pod_events import PodEvent, event_of

NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("transition", "expected"),
    [
        (
            Transition(at=NOW, probe="ready", healthy=False, check="ads", reason="refused"),
            PodEvent("NotReady", "ads: refused", Severity.WARNING),
        ),
        (
            Transition(at=NOW, probe="ready", healthy=True, lasted=3.21),
            PodEvent("Ready", "ready again after 3.2 s", Severity.NORMAL),
        ),
        (
            Transition(at=NOW, probe="alive", healthy=False, check="ads", reason="no beat for 16.0 s"),
            PodEvent("NotAlive", "ads: no beat for 16.0 s", Severity.WARNING),
        ),
        (
            Transition(at=NOW, probe="alive", healthy=True, lasted=1),
            PodEvent("Alive", "alive again after 1.0 s", Severity.NORMAL),
        ),
        (
            # A stop was asked for: no warning.
            Transition(at=NOW, probe="ready", healthy=False, check="draining", reason="it is draining"),
            PodEvent("NotReady", "draining: it is draining", Severity.NORMAL),
        ),
    ],
)
def test_the_event_of_a_fall_has_its_reason_and_that_of_a_recovery_its_length(
    transition: Transition, expected: PodEvent
) -> None:
    assert event_of(transition) == expected
