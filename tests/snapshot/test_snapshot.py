import pytest

from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, Resource, ResourceSet, Snapshot


def clusters(**contents: str) -> ResourceSet:
    """A set of clusters with these names and contents."""
    return ResourceSet.of(CLUSTER, (Resource.of(name, CLUSTER, body.encode()) for name, body in contents.items()))


def test_equal_contents_have_equal_versions_in_any_order() -> None:
    assert clusters(a="1", b="2").version == clusters(b="2", a="1").version
    assert clusters(a="1").version != clusters(a="2").version
    assert clusters(a="1").version != clusters(b="1").version


def test_two_resources_with_the_same_name_are_an_error() -> None:
    with pytest.raises(ValueError, match="two resources"):
        ResourceSet.of(CLUSTER, [Resource.of("a", CLUSTER, b"1"), Resource.of("a", CLUSTER, b"2")])


def test_a_change_has_new_and_modified_resources_and_removed_names() -> None:
    change = clusters(a="1", b="2", d="4").changes_since(clusters(a="1", b="1", c="3"))
    assert [resource.name for resource in change.changed] == ["b", "d"]
    assert change.removed == ("c",)
    assert change


def test_between_equal_sets_there_is_no_change() -> None:
    assert not clusters(a="1").changes_since(clusters(a="1"))


def test_an_empty_change_belongs_to_one_type_because_streams_cache_its_encoding_in_it() -> None:
    empty = {url: ResourceSet.of(url) for url in (CLUSTER, ENDPOINTS)}
    changes = {url: resources.changes_since(resources) for url, resources in empty.items()}
    assert {url: change.type_url for url, change in changes.items()} == {CLUSTER: CLUSTER, ENDPOINTS: ENDPOINTS}
    changes[CLUSTER].encoded["incremental"] = b"clusters"
    assert empty[ENDPOINTS].changes_since(empty[ENDPOINTS]).encoded == {}


def test_sets_of_different_types_cannot_be_compared_or_mixed() -> None:
    with pytest.raises(ValueError, match=r"Cluster cannot be compared with .*ClusterLoadAssignment"):
        ResourceSet.of(CLUSTER).changes_since(ResourceSet.of(ENDPOINTS))
    with pytest.raises(ValueError, match=r"Cluster has resources of .*ClusterLoadAssignment"):
        ResourceSet.of(CLUSTER, [Resource.of("a", ENDPOINTS, b"1")])


def test_a_selection_ignores_names_that_do_not_exist() -> None:
    selection = clusters(a="1", b="2").select(frozenset({"b", "c"}))
    assert selection == clusters(b="2")


def test_a_selection_of_all_is_the_set_itself_and_other_selections_are_cached() -> None:
    resources = clusters(a="1", b="2")
    assert resources.select(frozenset("abc")) is resources
    assert resources.select(frozenset("a")) is resources.select(frozenset("a"))


def test_the_caches_of_a_set_are_bounded() -> None:
    resources = clusters(a="1", b="2")
    for number in range(200):
        resources.select(frozenset({"a", str(number)}))
        resources.changes_since(clusters(a=str(number)))
    assert len(resources._selections) <= 32
    assert len(resources._changes) <= 32


def test_without_removes_names_and_keeping_removed_adds_those_of_the_old_set() -> None:
    resources = clusters(a="1", b="2")
    assert resources.without("b") == clusters(a="1")
    assert resources.without("c") is resources
    assert resources.keeping_removed(clusters(a="9", c="3")) == clusters(a="1", b="2", c="3")
    assert resources.keeping_removed(clusters(a="9")) is resources


def test_a_new_snapshot_reuses_the_sets_that_did_not_change() -> None:
    old = Snapshot.of([Resource.of("a", CLUSTER, b"1"), Resource.of("a", ENDPOINTS, b"1")])
    new = Snapshot.of([Resource.of("a", CLUSTER, b"1"), Resource.of("a", ENDPOINTS, b"2")])
    combined = new.reusing(old)
    assert combined == new
    assert combined.sets[CLUSTER] is old.sets[CLUSTER]
    assert combined.sets[ENDPOINTS] is new.sets[ENDPOINTS]
