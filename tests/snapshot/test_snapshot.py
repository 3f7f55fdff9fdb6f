import pytest

from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, NOTHING, Resource, ResourceSet, Snapshot


def resources(**contents: str) -> ResourceSet:
    return ResourceSet.of(CLUSTER, (Resource.of(name, CLUSTER, body.encode()) for name, body in contents.items()))


def test_equal_contents_have_equal_versions_whatever_their_order() -> None:
    assert resources(a="1", b="2").version == resources(b="2", a="1").version
    assert resources(a="1").version != resources(a="2").version
    assert resources(a="1").version != resources(b="1").version


def test_two_resources_of_one_name_are_a_fault() -> None:
    with pytest.raises(ValueError, match="two resources"):
        ResourceSet.of(CLUSTER, [Resource.of("a", CLUSTER, b"1"), Resource.of("a", CLUSTER, b"2")])


def test_a_change_says_what_is_new_or_other_and_what_is_gone() -> None:
    change = resources(a="1", b="2", d="4").since(resources(a="1", b="1", c="3"))
    assert [each.name for each in change.changed] == ["b", "d"]
    assert change.removed == ("c",)
    assert change


def test_between_equal_sets_nothing_changes() -> None:
    assert resources(a="1").since(resources(a="1")) is NOTHING
    assert not NOTHING


def test_a_selection_is_what_exists_of_the_names() -> None:
    chosen = resources(a="1", b="2").select(frozenset({"b", "c"}))
    assert chosen == resources(b="2")


def test_selecting_all_is_the_set_itself_and_other_selections_are_shared() -> None:
    every = resources(a="1", b="2")
    assert every.select(frozenset("abc")) is every
    assert every.select(frozenset("a")) is every.select(frozenset("a"))


def test_what_is_remembered_is_bounded() -> None:
    every = resources(a="1", b="2")
    for number in range(200):
        every.select(frozenset({"a", str(number)}))
        every.since(resources(a=str(number)))
    assert len(every._selections) <= 32
    assert len(every._changes) <= 32


def test_without_and_keeping() -> None:
    every = resources(a="1", b="2")
    assert every.without("b") == resources(a="1")
    assert every.without("c") is every
    assert every.keeping(resources(a="9", c="3")) == resources(a="1", b="2", c="3")
    assert every.keeping(resources(a="9")) is every


def test_endpoints_change_their_version_with_their_cluster_for_it_warms_until_they_come_again() -> None:
    endpoints, lone = Resource.of("a", ENDPOINTS, b"e"), Resource.of("b", ENDPOINTS, b"e")
    first = Snapshot.of([Resource.of("a", CLUSTER, b"1"), endpoints, lone]).sets[ENDPOINTS]
    second = Snapshot.of([Resource.of("a", CLUSTER, b"2"), endpoints, lone]).sets[ENDPOINTS]
    assert [each.name for each in second.since(first).changed] == ["a"]
    assert second.by_name["a"].body == b"e"


def test_a_new_snapshot_keeps_the_sets_that_did_not_change() -> None:
    old = Snapshot.of([Resource.of("a", CLUSTER, b"1"), Resource.of("a", ENDPOINTS, b"1")])
    new = Snapshot.of([Resource.of("a", CLUSTER, b"1"), Resource.of("a", ENDPOINTS, b"2")])
    kept = new.keeping(old)
    assert kept == new
    assert kept.sets[CLUSTER] is old.sets[CLUSTER]
    assert kept.sets[ENDPOINTS] is new.sets[ENDPOINTS]
