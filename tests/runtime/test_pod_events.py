from datetime import UTC, datetime

import pytest

from osm_probes.health.messages import Transition
from osm_probes.kube.event_object import Severity
from osm_probes.runtime.pod_events import Told, told

NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("transition", "expected"),
    [
        (
            Transition(at=NOW, probe="ready", healthy=False, check="ads", reason="refused"),
            Told("NotReady", "ads: refused", Severity.WARNING),
        ),
        (
            Transition(at=NOW, probe="ready", healthy=True, lasted=3.21),
            Told("Ready", "ready again after 3.2 s", Severity.NORMAL),
        ),
        (
            Transition(at=NOW, probe="alive", healthy=False, check="ads", reason="no beat for 16.0 s"),
            Told("NotAlive", "ads: no beat for 16.0 s", Severity.WARNING),
        ),
        (
            Transition(at=NOW, probe="alive", healthy=True, lasted=1),
            Told("Alive", "alive again after 1.0 s", Severity.NORMAL),
        ),
        (
            # Somebody asked for it: no warning.
            Transition(at=NOW, probe="ready", healthy=False, check="draining", reason="it is draining"),
            Told("NotReady", "draining: it is draining", Severity.NORMAL),
        ),
    ],
)
def test_a_fall_is_told_with_its_reason_and_a_recovery_with_its_time(transition: Transition, expected: Told) -> None:
    assert told(transition) == expected
