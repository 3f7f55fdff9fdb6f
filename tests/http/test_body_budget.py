import pytest
from hypothesis import given
from hypothesis import strategies as st

from osm_probes.http.body_budget import BodyBudget
from tests.clock import Clock


class Client:
    """A connection's body; `dropped` says whether the budget dropped it."""

    def __init__(self) -> None:
        self.dropped = False

    def drop(self) -> None:
        self.dropped = True


def begun(budget: BodyBudget, *, size: int) -> Client:
    """A client that has sent so many bytes of a body."""
    client = Client()
    budget.begin(client)
    budget.add(client, size)
    return client


def test_nobody_is_dropped_while_the_sum_is_within_the_limit() -> None:
    budget = BodyBudget(30)
    clients = [begun(budget, size=10) for _ in range(3)]
    assert not any(client.dropped for client in clients)
    assert budget.held == 30


def test_a_body_that_was_announced_but_not_received_is_not_charged() -> None:
    budget = BodyBudget(30)
    budget.begin(Client())
    assert budget.held == 0


def test_the_client_that_has_taken_longest_for_the_same_bytes_is_dropped() -> None:
    clock = Clock()
    budget = BodyBudget(30, clock=clock)
    clients = []
    for clock.now in (0.0, 1.0, 2.0, 3.0):
        clients.append(begun(budget, size=10))
    assert [client.dropped for client in clients] == [True, False, False, False]


def test_a_complete_body_of_a_fast_client_stays_while_it_is_reviewed() -> None:
    clock = Clock()
    budget = BodyBudget(30, clock=clock)
    fast = begun(budget, size=10)
    clock.now = 0.01
    budget.complete(fast)
    clock.now = 10.0
    slow = begun(budget, size=10)
    clock.now = 10.1
    begun(budget, size=15)
    assert (fast.dropped, slow.dropped) == (False, True)


def test_a_small_late_body_stays_when_large_bodies_exceed_the_limit() -> None:
    clock = Clock()
    budget = BodyBudget(3_000_000, clock=clock)
    small = begun(budget, size=10_000)
    clock.now = 0.2
    large = [begun(budget, size=1_000_000) for _ in range(2)]
    clock.now = 0.21
    large.append(begun(budget, size=1_000_000))
    assert not small.dropped
    assert [client.dropped for client in large] == [True, False, False]


def test_a_dropped_client_is_not_charged_again() -> None:
    clock = Clock()
    budget = BodyBudget(10, clock=clock)
    slow = begun(budget, size=10)
    clock.now = 1.0
    begun(budget, size=10)
    budget.add(slow, 10)
    budget.complete(slow)
    budget.end(slow)
    assert (slow.dropped, budget.held) == (True, 10)


def test_a_body_larger_than_the_limit_is_dropped_itself() -> None:
    assert begun(BodyBudget(10), size=11).dropped


@pytest.mark.parametrize("limit", [1, 50])
@given(steps=st.lists(st.tuples(st.sampled_from(["begin", "add", "complete", "end"]), st.integers(0, 9))))
def test_the_sum_never_exceeds_the_limit_and_is_0_at_the_end(limit: int, steps: list[tuple[str, int]]) -> None:
    clock = Clock()
    budget = BodyBudget(limit, clock=clock)
    clients = [Client() for _ in range(10)]
    open_now: set[int] = set()
    for step, number in steps:
        clock.now += 0.5
        client = clients[number]
        if step == "begin" and number not in open_now and not client.dropped:
            budget.begin(client)
            open_now.add(number)
        elif step == "add":
            budget.add(client, number)
        elif step == "complete":
            budget.complete(client)
        elif step == "end":
            budget.end(client)
            open_now.discard(number)
        assert 0 <= budget.held <= limit
    for client in clients:
        budget.end(client)
    assert budget.held == 0
