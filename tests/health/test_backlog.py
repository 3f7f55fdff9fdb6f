from osm_probes.health.backlog import Backlog
from tests.clock import Clock


def test_the_oldest_work_and_its_age() -> None:
    clock = Clock()
    backlog = Backlog(clock=clock)
    assert backlog.oldest() is None
    backlog.add("one")
    clock.now = 5
    backlog.add("two")
    backlog.add("one")
    clock.now = 7
    assert backlog.oldest() == ("one", 7)
    backlog.remove("one")
    backlog.remove("unknown")
    assert backlog.oldest() == ("two", 2)


def test_work_that_is_moved_keeps_its_time() -> None:
    clock = Clock()
    backlog = Backlog(clock=clock)
    backlog.add("seen")
    clock.now = 5
    backlog.add("three")
    backlog.move("seen", ["two", "three"])
    backlog.move("seen", ["four"])
    clock.now = 6
    assert backlog.oldest() == ("three", 6)
    backlog.remove("three")
    assert backlog.oldest() == ("two", 6)
    backlog.move("two", [])
    assert backlog.oldest() is None
