import pytest

from osm_probes.cluster.webhook_doubt import UnprovenConfiguration
from osm_probes.foundation.problem import Problem
from tests.clock import Clock

OTHER_PORT = Problem("clientConfig.url calls port 443")
DEMANDS_LABELS = Problem("objectSelector demands labels")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def unproven(clock: Clock) -> UnprovenConfiguration:
    """The verdict about a URL with another port."""
    unproven = UnprovenConfiguration(clock=clock)
    unproven.see(OTHER_PORT)
    return unproven


def test_without_a_doubt_no_proof_is_needed(clock: Clock) -> None:
    unproven = UnprovenConfiguration(clock=clock)
    unproven.see(Problem())
    clock.now = 100
    assert not unproven.problem


def test_a_doubt_is_a_problem_after_10_s_without_a_review(clock: Clock, unproven: UnprovenConfiguration) -> None:
    clock.now = 9
    assert not unproven.problem
    clock.now = 11
    assert unproven.problem == OTHER_PORT


def test_a_review_ends_the_doubt_until_there_is_another_one(clock: Clock, unproven: UnprovenConfiguration) -> None:
    clock.now = 200
    unproven.review_arrived()
    unproven.see(OTHER_PORT)
    assert not unproven.problem
    unproven.see(DEMANDS_LABELS)
    clock.now = 220
    assert unproven.problem == DEMANDS_LABELS


def test_a_review_just_after_the_change_may_have_been_sent_with_the_configuration_before(
    clock: Clock, unproven: UnprovenConfiguration
) -> None:
    clock.now = 1
    unproven.review_arrived()
    clock.now = 20
    assert unproven.problem


def test_the_verdict_is_suspended_for_a_minute_in_five_so_that_reviews_can_arrive_again(
    clock: Clock, unproven: UnprovenConfiguration
) -> None:
    verdicts = []
    for clock.now in range(15, 615, 30):
        verdicts.append(bool(unproven.problem))
    assert [verdicts[:8], verdicts[8:10], verdicts[10:18], verdicts[18:]] == [
        [True] * 8, [False] * 2, [True] * 8, [False] * 2,
    ]  # fmt: skip
