"""Leader election by a Lease in a real API server, with shorter periods than in production."""

import asyncio
import itertools
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.connect import connect
from osm_probes.kube.leader_election import LeaderElector
from osm_probes.kube.lease import LeaseTiming
from tests.kubernetes.apiserver import ApiServer
from tests.log_capture import capture_logs

pytestmark = pytest.mark.kubernetes
TIMING = LeaseTiming(duration=3.0, renew_deadline=2.0, retry_period=0.4)


@asynccontextmanager
async def candidate(server: ApiServer, namespace: str, name: str, *, user: str = "") -> AsyncGenerator[LeaderElector]:
    """A replica that takes part in the election."""
    async with connect(str(server.kubeconfig_for(user) if user else server.kubeconfig)) as client:
        elector = LeaderElector(client, namespace=namespace, name="osm-controller", candidate=name, timing=TIMING)
        async with background_tasks(run=elector.run()):
            yield elector


async def until(elector: LeaderElector, *, is_leader: bool, within: float = 10) -> None:
    """Wait until the replica is the leader, or is not."""
    async with asyncio.timeout(within):
        while elector.is_leader.value is not is_leader:
            await elector.is_leader.after(elector.is_leader.version)


async def test_one_of_three_replicas_leads_and_another_takes_over_when_it_stops(
    api_server: ApiServer, namespace: str
) -> None:
    async with candidate(api_server, namespace, "a") as first:
        await until(first, is_leader=True)
        async with candidate(api_server, namespace, "b") as second, candidate(api_server, namespace, "c") as third:
            await asyncio.sleep(TIMING.duration + 1)
            assert (first.is_leader.value, second.is_leader.value, third.is_leader.value) == (True, False, False)
            assert second.holder == "a"
    async with candidate(api_server, namespace, "d") as last:
        # The Lease was released, so that a new replica does not wait for its duration.
        await until(last, is_leader=True, within=TIMING.duration)
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/osm-controller"
    spec = api_server.request("GET", path)["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("", 1)


async def test_a_released_lease_is_taken_at_once_by_a_waiting_replica(api_server: ApiServer, namespace: str) -> None:
    async with AsyncExitStack() as first_stack:
        first = await first_stack.enter_async_context(candidate(api_server, namespace, "a"))
        await until(first, is_leader=True)
        async with candidate(api_server, namespace, "b") as second:
            await asyncio.sleep(TIMING.retry_period)
            assert not second.is_leader.value
            await first_stack.aclose()
            await until(second, is_leader=True, within=2 * TIMING.retry_period)


async def test_the_lease_of_a_vanished_leader_is_taken_after_its_duration(
    api_server: ApiServer, namespace: str
) -> None:
    spec = {"holderIdentity": "vanished", "leaseDurationSeconds": 3, "leaseTransitions": 4}
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    api_server.request("POST", path, {"metadata": {"name": "osm-controller"}, "spec": spec})
    async with candidate(api_server, namespace, "a") as elector:
        await asyncio.sleep(TIMING.duration - 1)
        assert not elector.is_leader.value
        await until(elector, is_leader=True)
        assert api_server.request("GET", f"{path}/osm-controller")["spec"]["leaseTransitions"] == 5


async def test_changes_of_the_metadata_do_not_extend_a_lease(api_server: ApiServer, namespace: str) -> None:
    spec = {"holderIdentity": "vanished", "leaseDurationSeconds": 3}
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    api_server.request("POST", path, {"metadata": {"name": "osm-controller"}, "spec": spec})

    async def annotate() -> None:
        for number in itertools.count():
            body = {"metadata": {"annotations": {"note": str(number)}}}
            content_type = "application/merge-patch+json"
            await asyncio.to_thread(
                api_server.request, "PATCH", f"{path}/osm-controller", body, content_type=content_type
            )
            await asyncio.sleep(0.3)

    async with candidate(api_server, namespace, "a") as elector, background_tasks(annotations=annotate()):
        await until(elector, is_leader=True, within=TIMING.duration + 3)
        # They do not disturb a leader either: it keeps leading, and the annotations stay.
        seen = elector.is_leader.version
        await asyncio.sleep(2 * TIMING.retry_period)
        assert elector.is_leader.version == seen
    assert "note" in api_server.request("GET", f"{path}/osm-controller")["metadata"]["annotations"]


async def test_a_replaced_leader_steps_down(api_server: ApiServer, namespace: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/osm-controller"
    async with candidate(api_server, namespace, "a") as elector:
        await until(elector, is_leader=True)
        body = {"spec": {"holderIdentity": "b"}}
        await asyncio.to_thread(api_server.request, "PATCH", path, body, content_type="application/merge-patch+json")
        await until(elector, is_leader=False, within=2 * TIMING.retry_period)
        assert elector.holder == "b"
    assert api_server.request("GET", path)["spec"]["holderIdentity"] == "b"


async def test_the_leader_creates_a_deleted_lease_again(api_server: ApiServer, namespace: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/osm-controller"
    async with candidate(api_server, namespace, "a") as elector:
        await until(elector, is_leader=True)
        seen = elector.is_leader.version
        await asyncio.to_thread(api_server.request, "DELETE", path)
        await asyncio.sleep(2 * TIMING.retry_period)
        assert elector.is_leader.version == seen
        assert api_server.request("GET", path)["spec"]["holderIdentity"] == "a"


async def test_a_missing_permission_is_logged_once_with_its_name(api_server: ApiServer, namespace: str) -> None:
    with capture_logs() as lines:
        async with candidate(api_server, namespace, "a", user="nobody"):
            await asyncio.sleep(3 * TIMING.retry_period)
    (error,) = [line["error"] for line in lines if line["log_level"] == "warning"]
    assert error.endswith(
        "; its user must be allowed to get, create and update leases of API group "
        f'"coordination.k8s.io" in namespace {namespace}'
    )


async def test_a_leader_steps_down_in_time_even_if_each_request_hangs(own_api_server: ApiServer) -> None:
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/osm-controller"
    async with candidate(own_api_server, "default", "a") as elector:
        await until(elector, is_leader=True)
        before = now = own_api_server.request("GET", path)["spec"]["renewTime"]
        async with asyncio.timeout(5):
            while now == before:
                now = (await asyncio.to_thread(own_api_server.request, "GET", path))["spec"]["renewTime"]
        own_api_server.hang()
        await until(elector, is_leader=False, within=TIMING.renew_deadline + 0.2)
        own_api_server.resume()


async def test_a_leader_that_cannot_renew_steps_down_before_another_replica_can_lead(own_api_server: ApiServer) -> None:
    async with candidate(own_api_server, "default", "a") as elector:
        await until(elector, is_leader=True)
        own_api_server.hang()
        await until(elector, is_leader=False, within=TIMING.duration)
        own_api_server.resume()
        await until(elector, is_leader=True)
