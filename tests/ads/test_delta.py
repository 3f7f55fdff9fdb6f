import pytest

from osm_probes.ads.delta import Incremental
from osm_probes.ads.errors import MalformedRequestError
from osm_probes.ads.session import Verdict
from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Snapshot
from tests.ads.messages import Delta, changes, cluster, endpoints, listener, quiet, routes, snapshot, told

WORLD = snapshot(cluster("a"), cluster("b"), endpoints("a"), endpoints("b"), listener("out"), routes("out"))


def get(session: Incremental, now: Snapshot, type_url: str, *names: str) -> Delta:
    """Ask for the first time, take and accept the answer."""
    session.hear(changes(type_url, *names))
    return accept(session, now)


def accept(session: Incremental, now: Snapshot) -> Delta:
    answer = told(session.answer(now))
    heard = session.hear(changes(answer.type_url, nonce=answer.nonce))
    assert (heard.verdict, heard.version) == (Verdict.ACCEPTED, answer.version)
    return answer


def synced(now: Snapshot) -> Incremental:
    session = Incremental()
    get(session, now, CLUSTER)
    get(session, now, ENDPOINTS, "a", "b")
    get(session, now, LISTENER)
    get(session, now, ROUTES, "out")
    assert quiet(session, now)
    return session


@pytest.mark.parametrize("names", [(), ("*",)])
def test_no_name_and_a_star_are_all_clusters(names: tuple[str, ...]) -> None:
    assert get(Incremental(), WORLD, CLUSTER, *names).names == ["a", "b"]


def test_no_clusters_at_all_is_an_answer() -> None:
    answer = get(Incremental(), snapshot(), CLUSTER)
    assert (answer.names, answer.removed) == ([], [])


def test_no_name_is_no_endpoints() -> None:
    session = Incremental()
    session.hear(changes(ENDPOINTS))
    assert quiet(session, WORLD)


def test_only_the_changed_cluster_is_sent_and_its_endpoints_follow() -> None:
    session = synced(WORLD)
    now = snapshot(cluster("a", 2), cluster("b"), endpoints("a"), endpoints("b"), listener("out"), routes("out"))
    first, second = told(session.answer(now)), told(session.answer(now))
    assert (first.type_url, first.names) == (CLUSTER, ["a"])
    assert (second.type_url, second.names) == (ENDPOINTS, ["a"])


def test_versions_are_those_of_the_snapshot() -> None:
    assert get(Incremental(), WORLD, CLUSTER).versions == {
        name: each.version for name, each in WORLD.sets[CLUSTER].by_name.items()
    }


def test_a_name_that_does_not_exist_is_said_to_be_removed_once_and_sent_when_it_exists() -> None:
    session = Incremental()
    answer = get(session, WORLD, ENDPOINTS, "a", "nowhere")
    assert (answer.names, answer.removed) == (["a"], ["nowhere"])
    assert quiet(session, WORLD)
    now = snapshot(cluster("a"), endpoints("a"), endpoints("nowhere"))
    assert accept(session, now).names == ["nowhere"]


def test_a_listener_that_is_gone_is_removed() -> None:
    session = synced(WORLD)
    now = snapshot(cluster("a"), cluster("b"), endpoints("a"), endpoints("b"), routes("out"))
    answer = accept(session, now)
    assert (answer.type_url, answer.names, answer.removed) == (LISTENER, [], ["out"])


def test_a_stale_cluster_and_its_endpoints_are_removed_after_the_routes_left_it() -> None:
    session = synced(WORLD)
    now = snapshot(cluster("b"), endpoints("b"), listener("out"), routes("out", 2))
    assert accept(session, now).type_url == ROUTES
    first, second = accept(session, now), accept(session, now)
    assert (first.type_url, first.removed) == (CLUSTER, ["a"])
    assert (second.type_url, second.removed) == (ENDPOINTS, ["a"])
    assert quiet(session, now)


def test_a_further_name_brings_only_its_resource() -> None:
    session = Incremental()
    get(session, WORLD, ENDPOINTS, "a")
    session.hear(changes(ENDPOINTS, "b"))
    assert accept(session, WORLD).names == ["b"]


def test_a_name_asked_for_again_is_sent_again_for_the_proxy_may_have_forgotten_it() -> None:
    session = Incremental()
    get(session, WORLD, ENDPOINTS, "a", "b")
    session.hear(changes(ENDPOINTS, "a"))
    assert accept(session, WORLD).names == ["a"]


def test_a_name_asked_for_again_while_its_response_is_on_the_way_is_sent_again() -> None:
    session = Incremental()
    session.hear(changes(ENDPOINTS, "a", "b"))
    first = told(session.answer(WORLD))
    session.hear(changes(ENDPOINTS, "a"))
    session.hear(changes(ENDPOINTS, nonce=first.nonce))
    assert accept(session, WORLD).names == ["a"]


def test_a_name_that_is_left_is_sent_no_more() -> None:
    session = Incremental()
    get(session, WORLD, ENDPOINTS, "a", "b")
    session.hear(changes(ENDPOINTS, unsubscribe=["b"]))
    assert quiet(session, snapshot(cluster("a"), endpoints("a"), endpoints("b", 2)))


def test_wildcard_in_the_words_of_the_protocol_document() -> None:
    session = Incremental()
    assert get(session, WORLD, CLUSTER).names == ["a", "b"]
    session.hear(changes(CLUSTER, "a"))
    assert accept(session, WORLD).names == ["a"]
    assert accept(session, snapshot(cluster("a"), cluster("b", 2))).names == ["b"]
    session.hear(changes(CLUSTER, unsubscribe=["*"]))
    assert quiet(session, snapshot(cluster("a"), cluster("b", 3)))
    session.hear(changes(CLUSTER, unsubscribe=["a"]))
    assert quiet(session, snapshot(cluster("a", 3)))
    session.hear(changes(CLUSTER, "*"))
    assert accept(session, WORLD).names == ["a", "b"]


def test_a_name_left_that_is_part_of_all_is_sent_again_so_that_the_proxy_knows() -> None:
    session = Incremental()
    get(session, WORLD, CLUSTER, "*", "a", "gone")
    session.hear(changes(CLUSTER, unsubscribe=["a", "gone"]))
    answer = accept(session, WORLD)
    assert (answer.names, answer.removed) == (["a"], ["gone"])


def test_leaving_all_before_any_name_was_given_is_final() -> None:
    session = Incremental()
    get(session, WORLD, CLUSTER)
    session.hear(changes(CLUSTER, unsubscribe=["*"]))
    session.hear(changes(CLUSTER))
    assert quiet(session, snapshot(cluster("c")))


def test_a_star_while_a_response_is_on_the_way_brings_all() -> None:
    session = Incremental()
    session.hear(changes(CLUSTER, "a"))
    first = told(session.answer(WORLD))
    session.hear(changes(CLUSTER, "*"))
    assert accept(session, WORLD).names == ["a", "b"]
    assert session.hear(changes(CLUSTER, nonce=first.nonce)).verdict is Verdict.STALE


def test_a_reconnect_is_sent_only_what_differs_from_what_it_has() -> None:
    had = {name: each.version for name, each in WORLD.sets[CLUSTER].by_name.items()}
    session = Incremental()
    session.hear(changes(CLUSTER, "*", had=had))
    assert quiet(session, WORLD)
    other = Incremental()
    other.hear(changes(CLUSTER, had=had))
    now = snapshot(cluster("a", 2), cluster("c"))
    assert accept(other, now).names == ["a", "c"]
    assert accept(other, now).removed == ["b"]


def test_a_reconnect_that_names_what_it_has_is_sent_nothing() -> None:
    had = {name: each.version for name, each in WORLD.sets[ENDPOINTS].by_name.items()}
    session = Incremental()
    session.hear(changes(ENDPOINTS, "a", "b", had=had))
    assert quiet(session, WORLD)


def test_a_reconnect_that_names_more_than_it_has_is_sent_the_rest() -> None:
    session = Incremental()
    session.hear(changes(ENDPOINTS, "a", "b", had={"a": WORLD.sets[ENDPOINTS].by_name["a"].version}))
    assert accept(session, WORLD).names == ["b"]


def test_a_rejection_is_told_and_not_sent_again_until_something_changes() -> None:
    session = Incremental()
    get(session, WORLD, LISTENER)
    bad = told(session.answer(snapshot(listener("out", 2))))
    heard = session.hear(changes(LISTENER, nonce=bad.nonce, error="no such filter"))
    assert (heard.verdict, heard.version, heard.detail) == (Verdict.REJECTED, bad.version, "no such filter")
    assert quiet(session, snapshot(listener("out", 2)))
    assert accept(session, snapshot(listener("out", 3))).names == ["out"]


def test_what_was_rejected_and_is_gone_is_removed_for_envoy_may_have_taken_it() -> None:
    session = synced(WORLD)
    bad = told(session.answer(snapshot(*WORLD.sets[CLUSTER].by_name.values(), listener("out"), listener("bad"))))
    session.hear(changes(LISTENER, nonce=bad.nonce, error="no"))
    now = Snapshot({**WORLD.sets, LISTENER: snapshot(listener("out")).sets[LISTENER]})
    answer = accept(session, now)
    assert (answer.names, answer.removed) == ([], ["bad"])


def test_a_subscription_with_a_stale_nonce_counts_all_the_same() -> None:
    session = Incremental()
    get(session, WORLD, ENDPOINTS, "a")
    assert session.hear(changes(ENDPOINTS, "b", nonce="17")).verdict is Verdict.STALE
    assert accept(session, WORLD).names == ["b"]


def test_streams_share_the_encoded_bytes() -> None:
    now = snapshot(cluster("a"))
    first, second = get(Incremental(), now, CLUSTER), get(Incremental(), now, CLUSTER)
    assert first.bodies == second.bodies
    (change,) = now.sets[CLUSTER]._changes.values()
    assert len(change.encoded) == 1


def test_what_is_no_protobuf_and_what_is_no_type_are_malformed() -> None:
    with pytest.raises(MalformedRequestError, match="no DeltaDiscoveryRequest"):
        Incremental().hear(b"\xff\xff")
    with pytest.raises(MalformedRequestError, match="names no type"):
        Incremental().hear(changes(""))


def test_too_many_names_and_versions_are_malformed() -> None:
    many = [str(number) for number in range(10_001)]
    with pytest.raises(MalformedRequestError, match="names"):
        Incremental().hear(changes(ENDPOINTS, *many))
    with pytest.raises(MalformedRequestError, match="initial versions"):
        Incremental().hear(changes(CLUSTER, had=dict.fromkeys(many, "1")))


def test_a_type_that_is_not_served_is_never_answered() -> None:
    session = Incremental()
    runtime = "type.googleapis.com/envoy.service.runtime.v3.Runtime"
    assert session.hear(changes(runtime, "x")).verdict is Verdict.NOT_SERVED
    assert quiet(session, WORLD)
