"""A controller that dies takes no request with it, and its successor repeats nothing."""

import time

import pytest

from demo.processes import eventually
from demo.sidecar import Sidecar
from demo.stage import Stage

pytestmark = [pytest.mark.envoy, pytest.mark.netns]
OUTAGE = 2.0
RECONNECT = 20.0


def taken_up(sidecar: Sidecar) -> dict[str, int]:
    """How often Envoy took up or refused each part of its configuration, secrets too."""
    return {name: value for name, value in sidecar.stats(r"\.(update_success|update_rejected)$").items() if value}


def test_a_killed_controller_costs_no_request_and_its_successor_pushes_nothing_that_is_known(whole: Stage) -> None:
    sidecars = (whole.bookbuyer, whole.bookstore)
    before = [taken_up(each) for each in sidecars]
    assert all(len(each) >= 8 for each in before), "listeners, clusters, endpoints, routes and secrets are counted"
    with whole.shopping(rate=100) as shopping:
        whole.control_plane.kill()
        eventually(lambda: not any(map(connected, sidecars)), what="the Envoys see that the ADS is gone", within=5)
        time.sleep(OUTAGE)
        whole.control_plane.start()
        eventually(lambda: all(map(connected, sidecars)), what="the Envoys are connected again", within=RECONNECT)
        time.sleep(2)  # for what would be pushed
        receipt = shopping.finish()
    print(receipt)
    assert receipt.lost == 0, receipt
    assert [taken_up(each) for each in sidecars] == before
    # Connected is not configured: the successor must still be heard.
    whole.control_plane.mesh.add_endpoint("bookstore", address="10.42.0.13")
    eventually(
        lambda: all("10.42.0.13:14001" in each.endpoints("bookstore/bookstore|80") for each in sidecars),
        what="an endpoint from the new controller is in the Envoys",
        within=5,
    )


def connected(sidecar: Sidecar) -> bool:
    """Whether its ADS stream is up."""
    return sidecar.stat("control_plane.connected_state") == 1
