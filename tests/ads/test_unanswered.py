from osm_probes.ads.subscription import PendingResponse
from osm_probes.ads.unanswered import UnansweredTime
from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET, Change, ResourceSet


def pending(**nonces: str) -> dict[str, PendingResponse]:
    """Pending responses with these nonces, by the short names of their types."""
    types = {"cds": CLUSTER, "eds": ENDPOINTS, "lds": LISTENER, "rds": ROUTES, "sds": SECRET}
    return {
        types[name]: PendingResponse(nonce, ResourceSet.of(types[name]), Change(types[name]), f"v{nonce}")
        for name, nonce in nonces.items()
    }


def stuck(time: UnansweredTime, now: dict[str, PendingResponse]) -> list[str]:
    return [response.type_url for response in time.longer_than(60, now)]


def test_a_response_that_is_not_answered_for_60_seconds_is_stuck() -> None:
    time, now = UnansweredTime(), pending(rds="1")
    for _ in range(12):
        time.add(5, now)
        assert stuck(time, now) == []
    time.add(5, now)
    (response,) = time.longer_than(60, now)
    assert (response.type_url, response.version, response.seconds) == (ROUTES, "v1", 60)


def test_the_time_before_a_response_is_first_seen_does_not_count() -> None:
    time, now = UnansweredTime(), pending(rds="1")
    time.add(1000, now)
    assert stuck(time, now) == []


def test_an_answered_response_is_not_stuck_and_the_time_of_the_next_one_starts_anew() -> None:
    time = UnansweredTime()
    for _ in range(14):
        time.add(5, pending(rds="1"))
    assert stuck(time, pending()) == []
    assert stuck(time, pending(rds="2")) == []
    time.add(5, pending(rds="2"))
    assert stuck(time, pending(rds="2")) == []


def test_seconds_in_which_this_process_was_late_do_not_count() -> None:
    time, now = UnansweredTime(), pending(rds="1")
    for _ in range(100):
        time.add(0, now)
    assert stuck(time, now) == []


def test_clusters_that_may_warm_do_not_count_while_endpoints_or_secrets_are_unanswered() -> None:
    for waits in ({"eds": "2"}, {"sds": "2"}):
        time = UnansweredTime()
        for _ in range(20):
            time.add(5, pending(cds="1", **waits))
        # What the clusters wait for is stuck itself.
        assert stuck(time, pending(cds="1", **waits)) == [{"eds": ENDPOINTS, "sds": SECRET}[next(iter(waits))]]
        for _ in range(12):
            time.add(5, pending(cds="1"))
        assert stuck(time, pending(cds="1")) == [CLUSTER]


def test_endpoints_that_change_all_the_time_and_are_answered_do_not_hide_stuck_clusters() -> None:
    time = UnansweredTime()
    for number in range(30):
        time.add(5, pending(cds="1", eds=f"e{number}") if number % 2 else pending(cds="1"))
    assert stuck(time, pending(cds="1")) == [CLUSTER]


def test_listeners_do_not_wait_for_routes_because_envoy_answers_them_at_once() -> None:
    time, now = UnansweredTime(), pending(lds="1", rds="2")
    for _ in range(13):
        time.add(5, now)
    assert stuck(time, now) == [LISTENER, ROUTES]
