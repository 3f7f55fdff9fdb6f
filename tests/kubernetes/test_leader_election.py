"""Who leads, by a real API server's Lease; times are cut to a tenth of what is in use."""

import asyncio
import itertools
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.connect import connect
from osm_probes.kube.leader_election import LeaderElector
from osm_probes.kube.lease import Terms
from tests.kubernetes.apiserver import ApiServer

pytestmark = pytest.mark.kubernetes
TERMS = Terms(duration=3.0, give_up=2.0, renew=0.4)


@asynccontextmanager
async def candidate(server: ApiServer, namespace: str, name: str, *, user: str = "") -> AsyncGenerator[LeaderElector]:
    """A replica that would lead."""
    async with connect(str(server.kubeconfig_for(user) if user else server.kubeconfig)) as client:
        elector = LeaderElector(client, namespace=namespace, name="osm-controller", candidate=name, terms=TERMS)
        async with background_tasks(run=elector.run()):
            yield elector


async def until(elector: LeaderElector, *, holds: bool, within: float = 10) -> None:
    """Wait until it leads, or does not."""
    async with asyncio.timeout(within):
        while elector.holds.value is not holds:
            await elector.holds.after(elector.holds.version)


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


async def test_a_lease_that_is_given_back_is_taken_at_once_by_who_waits(api_server: ApiServer, namespace: str) -> None:
    async with AsyncExitStack() as first_ends:
        first = await first_ends.enter_async_context(candidate(api_server, namespace, "a"))
        await until(first, holds=True)
        async with candidate(api_server, namespace, "b") as second:
            await asyncio.sleep(TERMS.renew)
            assert not second.holds.value
            await first_ends.aclose()
            await until(second, holds=True, within=2 * TERMS.renew)


async def test_a_leader_that_vanished_is_followed_once_its_lease_has_ended(
    api_server: ApiServer, namespace: str
) -> None:
    spec = {"holderIdentity": "vanished", "leaseDurationSeconds": 3, "leaseTransitions": 4}
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    api_server.request("POST", path, {"metadata": {"name": "osm-controller"}, "spec": spec})
    async with candidate(api_server, namespace, "a") as elector:
        await asyncio.sleep(TERMS.duration - 1)
        assert not elector.holds.value
        await until(elector, holds=True)
        assert api_server.request("GET", f"{path}/osm-controller")["spec"]["leaseTransitions"] == 5


async def test_a_lease_that_others_only_write_a_note_on_ends_all_the_same(
    api_server: ApiServer, namespace: str
) -> None:
    spec = {"holderIdentity": "vanished", "leaseDurationSeconds": 3}
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    api_server.request("POST", path, {"metadata": {"name": "osm-controller"}, "spec": spec})

    async def write_notes() -> None:
        for number in itertools.count():
            body = {"metadata": {"annotations": {"note": str(number)}}}
            form = "application/merge-patch+json"
            await asyncio.to_thread(api_server.request, "PATCH", f"{path}/osm-controller", body, form=form)
            await asyncio.sleep(0.3)

    async with candidate(api_server, namespace, "a") as elector, background_tasks(notes=write_notes()):
        await until(elector, holds=True, within=TERMS.duration + 3)
        # A leader is not unsettled by them either: what they change stays, and it goes on leading.
        seen = elector.holds.version
        await asyncio.sleep(2 * TERMS.renew)
        assert elector.holds.version == seen
    assert "note" in api_server.request("GET", f"{path}/osm-controller")["metadata"]["annotations"]


async def test_who_was_replaced_leads_no_longer(api_server: ApiServer, namespace: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/osm-controller"
    async with candidate(api_server, namespace, "a") as elector:
        await until(elector, holds=True)
        body = {"spec": {"holderIdentity": "b"}}
        await asyncio.to_thread(api_server.request, "PATCH", path, body, form="application/merge-patch+json")
        await until(elector, holds=False, within=2 * TERMS.renew)
        assert elector.holder == "b"
    assert api_server.request("GET", path)["spec"]["holderIdentity"] == "b"


async def test_who_leads_makes_a_lease_that_was_deleted_anew(api_server: ApiServer, namespace: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/osm-controller"
    async with candidate(api_server, namespace, "a") as elector:
        await until(elector, holds=True)
        seen = elector.holds.version
        await asyncio.to_thread(api_server.request, "DELETE", path)
        await asyncio.sleep(2 * TERMS.renew)
        assert elector.holds.version == seen
        assert api_server.request("GET", path)["spec"]["holderIdentity"] == "a"


async def test_a_missing_permission_is_told_once_by_its_name(api_server: ApiServer, namespace: str) -> None:
    with capture_logs() as lines:
        async with candidate(api_server, namespace, "a", user="nobody"):
            await asyncio.sleep(3 * TERMS.renew)
    (told,) = [line["error"] for line in lines if line["log_level"] == "warning"]
    assert told.endswith(
        "; its user must be allowed to get, create and update leases of API group "
        f'"coordination.k8s.io" in namespace {namespace}'
    )


async def test_who_cannot_renew_gives_up_in_time_though_each_request_hangs(own_api_server: ApiServer) -> None:
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/osm-controller"
    async with candidate(own_api_server, "default", "a") as elector:
        await until(elector, holds=True)
        before = now = own_api_server.request("GET", path)["spec"]["renewTime"]
        async with asyncio.timeout(5):
            while now == before:
                now = (await asyncio.to_thread(own_api_server.request, "GET", path))["spec"]["renewTime"]
        own_api_server.hang()
        await until(elector, holds=False, within=TERMS.give_up + 0.2)
        own_api_server.resume()


async def test_who_cannot_renew_gives_up_before_another_may_begin(own_api_server: ApiServer) -> None:
    async with candidate(own_api_server, "default", "a") as elector:
        await until(elector, holds=True)
        own_api_server.hang()
        await until(elector, holds=False, within=TERMS.duration)
        own_api_server.resume()
        await until(elector, holds=True)
