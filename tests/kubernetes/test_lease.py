"""Who leads, by a real API server's Lease; times are cut to a tenth of what is in use."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from osm_probes.foundation.tasks import beside
from osm_probes.kube.connect import connect
from osm_probes.kube.lease import Leadership, Terms
from tests.kubernetes.apiserver import ApiServer

pytestmark = pytest.mark.kubernetes
TERMS = Terms(duration=3.0, give_up=2.0, renew=0.4)


@asynccontextmanager
async def candidate(server: ApiServer, namespace: str, name: str) -> AsyncGenerator[Leadership]:
    """A replica that would lead."""
    async with connect(str(server.kubeconfig)) as client:
        leadership = Leadership(client, namespace=namespace, name="osm-controller", candidate=name, terms=TERMS)
        async with beside(run=leadership.run()):
            yield leadership


async def until(leadership: Leadership, *, holds: bool, within: float = 10) -> None:
    """Wait until it leads, or does not."""
    async with asyncio.timeout(within):
        while leadership.holds.value is not holds:
            await leadership.holds.after(leadership.holds.version)


@pytest.fixture
def namespace(api_server: ApiServer, new_namespace: Any) -> str:
    """A namespace of this test alone."""
    manifest = new_namespace()
    api_server.create(manifest)
    return str(manifest["metadata"]["name"])


async def test_one_of_three_leads_and_another_does_once_it_is_gone(api_server: ApiServer, namespace: str) -> None:
    async with candidate(api_server, namespace, "a") as first:
        await until(first, holds=True)
        async with candidate(api_server, namespace, "b") as second, candidate(api_server, namespace, "c") as third:
            await asyncio.sleep(TERMS.duration + 1)
            assert (first.holds.value, second.holds.value, third.holds.value) == (True, False, False)
            assert second.holder == "a"
    async with candidate(api_server, namespace, "d") as last:
        # Given back at the end: nobody has to wait for its duration.
        await until(last, holds=True, within=TERMS.duration)
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/osm-controller"
    spec = api_server.request("GET", path)["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("", 1)


async def test_a_leader_that_vanished_is_followed_once_its_lease_has_ended(
    api_server: ApiServer, namespace: str
) -> None:
    spec = {"holderIdentity": "vanished", "leaseDurationSeconds": 3, "leaseTransitions": 4}
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    api_server.request("POST", path, {"metadata": {"name": "osm-controller"}, "spec": spec})
    async with candidate(api_server, namespace, "a") as leadership:
        await asyncio.sleep(TERMS.duration - 1)
        assert not leadership.holds.value
        await until(leadership, holds=True)
        assert api_server.request("GET", f"{path}/osm-controller")["spec"]["leaseTransitions"] == 5


async def test_who_cannot_renew_gives_up_before_another_may_begin(own_api_server: ApiServer) -> None:
    async with candidate(own_api_server, "default", "a") as leadership:
        await until(leadership, holds=True)
        own_api_server.hang()
        await until(leadership, holds=False, within=TERMS.duration)
        own_api_server.resume()
        await until(leadership, holds=True)
