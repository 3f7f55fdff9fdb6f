import pytest

from osm_probes.cluster.webhook_port import UnprovenPort


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def port(clock: Clock) -> UnprovenPort:
    """The verdict about a URL with port 443, and a webhook on port 9090."""
    port = UnprovenPort(clock=clock)
    port.see(443, own=9090)
    return port


def test_the_own_port_needs_no_proof(clock: Clock) -> None:
    port = UnprovenPort(clock=clock)
    port.see(9090, own=9090)
    clock.now = 100
    assert not port.problem


def test_another_port_is_a_problem_after_10_s_without_a_review(clock: Clock, port: UnprovenPort) -> None:
    clock.now = 9
    assert not port.problem
    clock.now = 11
    assert "clientConfig.url calls port 443, this injector listens on port 9090" in port.problem.summary


def test_a_review_proves_the_port_until_it_changes(clock: Clock, port: UnprovenPort) -> None:
    clock.now = 200
    port.review_arrived()
    port.see(443, own=9090)
    assert not port.problem
    port.see(444, own=9090)
    clock.now = 220
    assert port.problem


def test_a_review_just_after_the_change_may_have_been_sent_to_the_port_before(clock: Clock, port: UnprovenPort) -> None:
    clock.now = 1
    port.review_arrived()
    clock.now = 20
    assert port.problem


def test_the_verdict_is_suspended_for_a_minute_in_five_so_that_a_load_balancer_can_send_reviews_again(
    clock: Clock, port: UnprovenPort
) -> None:
    verdicts = []
    for clock.now in range(15, 615, 30):
        verdicts.append(bool(port.problem))
    assert [verdicts[:8], verdicts[8:10], verdicts[10:18], verdicts[18:]] == [
        [True] * 8, [False] * 2, [True] * 8, [False] * 2,
    ]  # fmt: skip
