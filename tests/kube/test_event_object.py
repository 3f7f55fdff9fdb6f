from datetime import UTC, datetime, timedelta

from osm_probes.kube.event_object import (
    EventSeries,
    EventSource,
    PodReference,
    Severity,
    event_name,
    timestamp,
    truncate_message,
)

_FIRST = datetime(2026, 11, 27, 1, 2, 3, 999_999, tzinfo=UTC)
_POD = PodReference("osm-system", "osm-controller-0")
_SOURCE = EventSource(component="osm-controller", instance="osm-controller-0")


def series() -> EventSeries:
    return EventSeries("osm-controller-0.1f", "NotReady", Severity.WARNING, "mesh: not read", _FIRST, _FIRST)


def test_an_event_has_the_fields_that_kubelets_write() -> None:
    assert series().event(_POD, _SOURCE, uid="a-uid") == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": "osm-system", "name": "osm-controller-0.1f"},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": "osm-system",
            "name": "osm-controller-0",
            "uid": "a-uid",
        },
        "type": "Warning",
        "reason": "NotReady",
        "message": "mesh: not read",
        "source": {"component": "osm-controller"},
        "reportingComponent": "osm-controller",
        "reportingInstance": "osm-controller-0",
        "firstTimestamp": "2026-11-27T01:02:03Z",
        "lastTimestamp": "2026-11-27T01:02:03Z",
        "count": 1,
    }


def test_a_repetition_changes_only_count_message_and_last_time() -> None:
    repeated = series().repeat("mesh: gone", at=_FIRST + timedelta(seconds=7))
    assert repeated.patch() == {"count": 2, "message": "mesh: gone", "lastTimestamp": "2026-11-27T01:02:10Z"}
    assert repeated.event(_POD, _SOURCE, uid="")["firstTimestamp"] == "2026-11-27T01:02:03Z"


def test_the_name_of_an_event_has_at_most_253_characters() -> None:
    assert event_name("osm-controller-0", "1f") == "osm-controller-0.1f"
    assert event_name("x" * 253, "1f") == f"{'x' * 250}.1f"


def test_a_message_has_at_most_1024_characters_which_are_valid_in_utf_8() -> None:
    assert truncate_message("é" * 2000) == "é" * 1024
    assert truncate_message("\udcff") == "?"


def test_a_timestamp_is_in_utc() -> None:
    assert timestamp(datetime.fromisoformat("2026-11-27T03:00:00+02:00")) == "2026-11-27T01:00:00Z"
