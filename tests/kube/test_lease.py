from datetime import UTC, datetime

import pytest

from osm_probes.kube.errors import KubernetesError
from osm_probes.kube.lease import LeaseSpec, LeaseTiming, ObservedLease, claimed_spec, decode_lease, released_spec

_AT = datetime(2026, 11, 27, 1, 2, 3, 4, tzinfo=UTC)
_NOW = "2026-11-27T01:02:03.000004Z"
_TIMING = LeaseTiming(duration=15.0)
_OTHERS = LeaseSpec("b", 15, "2026-11-27T00:00:00.000000Z", "2026-11-27T01:00:00.000000Z", 4)


def test_the_first_leader_is_not_a_transition() -> None:
    assert claimed_spec(None, "a", timing=_TIMING, at=_AT) == LeaseSpec("a", 15, _NOW, _NOW, 0)


def test_a_change_of_leader_is_a_transition_with_a_new_acquire_time() -> None:
    assert claimed_spec(_OTHERS, "a", timing=_TIMING, at=_AT) == LeaseSpec("a", 15, _NOW, _NOW, 5)


def test_a_renewal_keeps_the_acquire_time() -> None:
    assert claimed_spec(_OTHERS, "b", timing=_TIMING, at=_AT) == LeaseSpec("b", 15, _OTHERS.acquire_time, _NOW, 4)


def test_a_released_lease_has_no_holder_and_keeps_its_transitions() -> None:
    released = released_spec(_OTHERS, at=_AT)
    assert (released.holder, released.lease_transitions) == ("", 4)
    assert claimed_spec(released, "a", timing=_TIMING, at=_AT).lease_transitions == 5


@pytest.mark.parametrize(
    ("spec", "now", "held"),
    [
        (_OTHERS, 114.9, True),
        (_OTHERS, 115.0, False),
        # The duration in the Lease counts, not this replica's own timing.
        (LeaseSpec("b", 60), 159.9, True),
        (LeaseSpec("b"), 114.9, True),
        (LeaseSpec("b"), 115.0, False),
        (LeaseSpec(""), 100.0, False),
        (LeaseSpec(), 100.0, False),
        (LeaseSpec("a", 15), 100.0, False),
    ],
)
def test_a_lease_is_held_until_it_was_unchanged_for_its_duration(spec: LeaseSpec, now: float, held: bool) -> None:  # noqa: FBT001
    assert ObservedLease(spec, since=100.0).held_by_other("a", now=now, timing=_TIMING) is held


def test_a_renewal_counts_from_the_time_when_it_was_observed_whatever_its_renew_time() -> None:
    observed = ObservedLease(_OTHERS, since=100.0)
    assert observed.observe(_OTHERS, now=110.0) is observed
    renewed = LeaseSpec("b", 15, _OTHERS.acquire_time, "1999-01-01T00:00:00.000000Z", 4)
    assert observed.observe(renewed, now=110.0) == ObservedLease(renewed, since=110.0)


def test_the_metadata_is_written_back_unchanged() -> None:
    lease = decode_lease(b'{"metadata": {"name": "x", "annotations": {"a": "b"}}, "spec": {"holderIdentity": null}}')
    assert bytes(lease.with_spec(lease.spec)["metadata"]) == b'{"name": "x", "annotations": {"a": "b"}}'
    assert lease.spec.holder == ""


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"metadata": {}, "spec": {"holderIdentity": 7}}'])
def test_invalid_json_of_a_lease_is_a_kubernetes_error(content: bytes) -> None:
    with pytest.raises(KubernetesError, match="the Lease cannot be decoded"):
        decode_lease(content)
