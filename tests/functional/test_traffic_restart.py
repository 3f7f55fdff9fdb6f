"""A killed osm-controller causes no lost request, and its successor sends only changes."""

import time

import pytest

from demo.processes import eventually
from demo.sidecar import Sidecar
from demo.testbed import MeshTestbed

pytestmark = [pytest.mark.envoy, pytest.mark.netns]
OUTAGE = 2.0
RECONNECT = 20.0


def update_counts(sidecar: Sidecar) -> dict[str, int]:
    """How often Envoy accepted or rejected an update, for each xDS subscription."""
    return {name: value for name, value in sidecar.stats(r"\.(update_success|update_rejected)$").items() if value}


def test_a_killed_controller_causes_no_lost_request_and_its_successor_sends_only_changes(testbed: MeshTestbed) -> None:
    sidecars = (testbed.bookbuyer, testbed.bookstore)
    before = [update_counts(sidecar_) for sidecar_ in sidecars]
    assert all(len(counts) >= 8 for counts in before), "expected listeners, clusters, endpoints, routes and secrets"
    with testbed.load(rate=100) as load:
        testbed.control_plane.kill()
        eventually(lambda: not any(map(connected, sidecars)), what="the Envoys have lost the ADS", within=5)
        time.sleep(OUTAGE)
        testbed.control_plane.start()
        eventually(lambda: all(map(connected, sidecars)), what="the Envoys are connected again", within=RECONNECT)
        time.sleep(2)  # time for updates that must not come
        result = load.finish()
    print(result)
    assert result.lost == 0, result
    assert [update_counts(sidecar_) for sidecar_ in sidecars] == before
    # A connection alone proves nothing: a change must still reach the Envoys.
    testbed.control_plane.mesh.add_endpoint("bookstore", address="10.42.0.13")
    eventually(
        lambda: all("10.42.0.13:14001" in sidecar_.endpoints("bookstore/bookstore|80") for sidecar_ in sidecars),
        what="the Envoys have an endpoint from the new controller",
        within=5,
    )


def connected(sidecar: Sidecar) -> bool:
    """Whether the sidecar has an ADS stream."""
    return sidecar.stat("control_plane.connected_state") == 1
