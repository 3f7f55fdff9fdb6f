from datetime import UTC, datetime

import pytest

from osm_probes.kube.errors import KubernetesError
from osm_probes.kube.lease import ObservedRecord, Record, Terms, claimed, lease_of, released

_AT = datetime(2026, 11, 27, 1, 2, 3, 4, tzinfo=UTC)
_NOW = "2026-11-27T01:02:03.000004Z"
_TERMS = Terms(duration=15.0)
_OTHERS = Record("b", 15, "2026-11-27T00:00:00.000000Z", "2026-11-27T01:00:00.000000Z", 4)


def test_the_first_leader_is_no_transition() -> None:
    assert claimed(None, "a", terms=_TERMS, at=_AT) == Record("a", 15, _NOW, _NOW, 0)


def test_another_leader_is_a_transition_and_begins_now() -> None:
    assert claimed(_OTHERS, "a", terms=_TERMS, at=_AT) == Record("a", 15, _NOW, _NOW, 5)


def test_who_renews_has_led_since_it_began() -> None:
    assert claimed(_OTHERS, "b", terms=_TERMS, at=_AT) == Record("b", 15, _OTHERS.acquire_time, _NOW, 4)


def test_a_lease_that_is_given_back_has_no_holder_and_counts_transitions_on() -> None:
    given_back = released(_OTHERS, at=_AT)
    assert (given_back.holder, given_back.lease_transitions) == ("", 4)
    assert claimed(given_back, "a", terms=_TERMS, at=_AT).lease_transitions == 5


@pytest.mark.parametrize(
    ("record", "now", "binds"),
    [
        (_OTHERS, 114.9, True),
        (_OTHERS, 115.0, False),
        # As long as its holder promised, whatever this replica's own terms are.
        (Record("b", 60), 159.9, True),
        (Record("b"), 114.9, True),
        (Record("b"), 115.0, False),
        (Record(""), 100.0, False),
        (Record(), 100.0, False),
        (Record("a", 15), 100.0, False),
    ],
)
def test_anothers_record_binds_until_it_was_unchanged_for_its_duration(record: Record, now: float, binds: bool) -> None:  # noqa: FBT001
    assert ObservedRecord(record, since=100.0).binds("a", now=now, terms=_TERMS) is binds


def test_a_renewal_counts_from_when_it_was_seen_whatever_time_it_says() -> None:
    seen = ObservedRecord(_OTHERS, since=100.0)
    assert seen.next(_OTHERS, now=110.0) is seen
    renewed = Record("b", 15, _OTHERS.acquire_time, "1999-01-01T00:00:00.000000Z", 4)
    assert seen.next(renewed, now=110.0) == ObservedRecord(renewed, since=110.0)


def test_what_is_in_the_metadata_goes_back_as_it_came() -> None:
    lease = lease_of(b'{"metadata": {"name": "x", "annotations": {"a": "b"}}, "spec": {"holderIdentity": null}}')
    assert bytes(lease.body(lease.spec)["metadata"]) == b'{"name": "x", "annotations": {"a": "b"}}'
    assert lease.spec.holder == ""


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"metadata": {}, "spec": {"holderIdentity": 7}}'])
def test_what_is_no_lease_is_an_error_and_no_crash(content: bytes) -> None:
    with pytest.raises(KubernetesError, match="no Lease"):
        lease_of(content)
