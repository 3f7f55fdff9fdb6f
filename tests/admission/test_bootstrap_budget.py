import pytest

from osm_probes.admission.bootstrap_budget import BootstrapBudget, TooManyPendingError
from tests.clock import Clock


def take(budget: BootstrapBudget, count: int, *, client: str = "10.0.0.1", namespace: str = "shop") -> None:
    for _ in range(count):
        budget.take(client=client, namespace=namespace)


def test_a_namespace_gets_5000_in_two_minutes_and_more_afterwards() -> None:
    clock = Clock()
    budget = BootstrapBudget(clock=clock)
    take(budget, 5000)
    with pytest.raises(TooManyPendingError, match=r"5000 pods of namespace shop were reviewed in the last 120 s"):
        take(budget, 1)
    take(budget, 1, namespace="other")
    clock.now = 119.9
    with pytest.raises(TooManyPendingError):
        take(budget, 1)
    clock.now = 120.0
    take(budget, 5000)


def test_a_rate_of_40_pods_a_second_in_one_namespace_never_reaches_the_limit() -> None:
    clock = Clock()
    budget = BootstrapBudget(clock=clock)
    for _ in range(600):
        take(budget, 40)
        clock.now += 1.0


def test_one_client_cannot_use_up_the_limits_of_another() -> None:
    budget = BootstrapBudget()
    for namespace in ("a", "b"):
        take(budget, 5000, namespace=namespace)
    with pytest.raises(TooManyPendingError, match=r"10000 pods by 10\.0\.0\.1 were reviewed"):
        take(budget, 1, namespace="c")
    for namespace in ("a", "c"):
        take(budget, 5000, client="10.0.0.2", namespace=namespace)


def test_all_clients_together_get_20000() -> None:
    budget = BootstrapBudget()
    for client in ("1", "2", "3", "4"):
        take(budget, 5000, client=client)
    with pytest.raises(TooManyPendingError, match="20000 pods in all namespaces"):
        take(budget, 1, client="5")


def test_old_bootstraps_leave_no_memory_behind() -> None:
    clock = Clock()
    budget = BootstrapBudget(clock=clock)
    for number in range(3000):
        take(budget, 1, client=f"client-{number}", namespace=f"ns-{number}")
    clock.now = 200.0
    take(budget, 1)
    assert [len(kept) for kept in (budget._stored, budget._by_client, budget._by_namespace)] == [1, 1, 1]
