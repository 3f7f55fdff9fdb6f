import pytest

from osm_probes.controller.delays import DelayLimits, Delays
from osm_probes.foundation.problem import Problem
from osm_probes.health.backlog import Backlog
from osm_probes.mesh.source import Step
from osm_probes.snapshot.cache import CANARY, SnapshotCache
from osm_probes.snapshot.snapshot import Snapshot
from tests.builders import identity
from tests.clock import Clock
from tests.log_capture import capture_logs

STORE, BUYER = identity("bookstore"), identity("bookbuyer")


class DelaysFixture:
    """Delays with a clock, with what proxies wait for."""

    def __init__(self) -> None:
        self.clock = Clock(100)
        self.cache = SnapshotCache(clock=self.clock)
        self.updates = Backlog(clock=self.clock)
        self.stream_delay = 0.0
        self.delays = Delays(
            self.cache,
            self.updates,
            stream_delay=lambda: self.stream_delay,
            limits=DelayLimits(first=3, updates=10),
            clock=self.clock,
        )

    def problems(self) -> dict[str, str]:
        """The summaries of the problems."""
        return {check: problem.summary for check, problem in self.delays.problems().items() if problem}


def test_identities_that_wait_longer_than_the_limit_for_their_first_configuration_are_a_problem() -> None:
    fixture = DelaysFixture()
    with fixture.cache.subscribe(CANARY), fixture.cache.subscribe(STORE):
        fixture.clock.now += 3
        assert fixture.problems() == {}
        fixture.clock.now += 9
        assert fixture.problems() == {"ads": "1 identity waits for its configuration, for 12 s"}
        with fixture.cache.subscribe(BUYER):
            problem = fixture.delays.problems()["ads"]
            assert problem.summary == "2 identities wait for their configuration, the longest for 12 s"
            assert problem.detail == f"{problem.summary}: {STORE}, {BUYER}", "names are for the log alone"
            fixture.cache.publish(STORE, Snapshot())
            assert fixture.problems() == {}
            assert fixture.delays.first == 0


@pytest.mark.parametrize(
    ("work", "where"),
    [
        (Step.SEEN, "a change is not read"),
        (Step.READ, "nothing is built from a change"),
        (STORE, "the configuration of an identity is outdated"),
    ],
)
def test_a_change_that_does_not_reach_the_cache_is_a_problem_until_nothing_was_late_for_5_seconds(
    work: object, where: str
) -> None:
    fixture = DelaysFixture()
    fixture.updates.add(work)
    fixture.clock.now += 10
    assert fixture.problems() == {}
    fixture.clock.now += 2
    assert fixture.problems() == {"updates": f"a change has not reached the proxies for 12 s: {where}"}
    assert fixture.delays.update == 12
    fixture.updates.remove(work)
    fixture.clock.now += 4
    assert fixture.problems() == {"updates": "changes were late less than 5 s ago"}
    fixture.clock.now += 4
    assert fixture.problems() == {}


def test_a_snapshot_that_a_stream_does_not_send_is_a_problem() -> None:
    fixture = DelaysFixture()
    fixture.stream_delay = 11
    assert fixture.problems() == {
        "updates": "a change has not reached the proxies for 11 s: a stream does not send what is built"
    }


def test_a_problem_is_logged_with_the_names_once_and_so_is_its_end() -> None:
    fixture = DelaysFixture()
    with capture_logs() as logs:
        fixture.updates.add(STORE)
        for _ in range(3):
            fixture.clock.now += 12
            fixture.delays.problems()
        fixture.updates.remove(STORE)
        for _ in range(3):
            fixture.clock.now += 5
            fixture.delays.problems()
    assert [line["event"] for line in logs] == [
        "changes do not reach the proxies",
        "changes reach the proxies in time again",
    ]
    assert logs[0]["error"].endswith(f"the configuration of an identity is outdated: {STORE}")


def test_at_first_there_is_no_problem() -> None:
    assert DelaysFixture().delays.problems() == {"ads": Problem(), "updates": Problem()}
