"""Events on a pod, as a real API server keeps them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.connect import connect
from osm_probes.kube.event_object import Severity
from osm_probes.kube.events import EventRecorder
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.waiting import eventually

pytestmark = pytest.mark.kubernetes


@pytest.fixture
def namespace(api_server: ApiServer, new_namespace: Any) -> str:
    """A namespace with the pod osm-controller-0."""
    manifest = new_namespace()
    name = str(manifest["metadata"]["name"])
    api_server.create(manifest)
    spec = {"containers": [{"name": "a", "image": "a"}]}
    metadata = {"name": "osm-controller-0", "namespace": name}
    api_server.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    return name


@asynccontextmanager
async def recording(
    server: ApiServer, namespace: str, *, pod: str = "osm-controller-0", user: str = ""
) -> AsyncGenerator[EventRecorder]:
    """A recorder that is not run."""
    async with connect(str(server.kubeconfig_for(user) if user else server.kubeconfig)) as client:
        yield EventRecorder(client, namespace=namespace, pod=pod, component="osm-controller")


async def events(server: ApiServer, namespace: str) -> list[dict[str, Any]]:
    """What is there."""
    found = await asyncio.to_thread(server.request, "GET", f"/api/v1/namespaces/{namespace}/events")
    items: list[dict[str, Any]] = found["items"]
    return items


async def until_count(server: ApiServer, namespace: str, count: int) -> dict[str, Any]:
    """The one Event, once it counts so many."""

    async def counts() -> bool:
        return [each["count"] for each in await events(server, namespace)] == [count]

    await eventually(counts, within=15)
    return (await events(server, namespace))[0]


async def test_an_event_is_about_the_very_pod_and_a_repetition_raises_its_count(
    api_server: ApiServer, namespace: str
) -> None:
    async with recording(api_server, namespace) as recorder, background_tasks(run=recorder.run()):
        recorder.say("Unready", "ads: refused", severity=Severity.WARNING)
        first = await until_count(api_server, namespace, 1)
        pod = api_server.request("GET", f"/api/v1/namespaces/{namespace}/pods/osm-controller-0")
        assert first["involvedObject"]["uid"] == pod["metadata"]["uid"]
        assert (first["reason"], first["type"], first["message"]) == ("Unready", "Warning", "ads: refused")
        assert first["source"] == {"component": "osm-controller"}
        for number in range(1000):
            recorder.say("Unready", f"ads: refused {number}", severity=Severity.WARNING)
        again = await until_count(api_server, namespace, 1001)
        assert again["message"] == "ads: refused 999"
        assert again["firstTimestamp"] == first["firstTimestamp"]
        assert again["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]


async def test_a_new_reason_may_come_while_another_is_written(api_server: ApiServer, namespace: str) -> None:
    async with recording(api_server, namespace) as recorder, background_tasks(run=recorder.run()):
        reasons = {f"Reason{number}" for number in range(20)}
        for reason in reasons:
            recorder.say(reason, "so", severity=Severity.NORMAL)
            await asyncio.sleep(0.002)

        async def all_there() -> bool:
            return {each["reason"] for each in await events(api_server, namespace)} == reasons

        await eventually(all_there, within=10)


async def test_a_reason_has_one_event_for_each_severity(api_server: ApiServer, namespace: str) -> None:
    async with recording(api_server, namespace) as recorder, background_tasks(run=recorder.run()):
        for severity in (Severity.NORMAL, Severity.WARNING, Severity.NORMAL):
            recorder.say("NotReady", severity.value, severity=severity)

        async def both_there() -> bool:
            found = await events(api_server, namespace)
            return sorted((each["type"], each["count"]) for each in found) == [("Normal", 2), ("Warning", 1)]

        await eventually(both_there, within=10)


async def test_a_message_that_is_no_utf_8_is_written_as_far_as_it_is(api_server: ApiServer, namespace: str) -> None:
    async with recording(api_server, namespace) as recorder:
        await recorder.say_now("FatalInvalidCLIParameters", "unrecognized arguments: --\udcff", within=3)
    (event,) = await events(api_server, namespace)
    assert event["message"] == "unrecognized arguments: --?"


async def test_what_happens_while_the_api_server_is_away_is_written_later_with_its_own_time(
    own_api_server: ApiServer,
) -> None:
    own_api_server.kill()
    async with recording(own_api_server, "default") as recorder, background_tasks(run=recorder.run()):
        for _ in range(3):
            recorder.say("NotReady", "mesh: cannot be watched", severity=Severity.WARNING)
        said = datetime.now(UTC)
        await asyncio.sleep(3)
        await asyncio.to_thread(own_api_server.start)
        event = await until_count(own_api_server, "default", 3)
    for moment in ("firstTimestamp", "lastTimestamp"):
        assert abs((datetime.fromisoformat(event[moment]) - said).total_seconds()) < 2


async def test_a_missing_permission_is_told_once_by_its_name(api_server: ApiServer, namespace: str) -> None:
    with capture_logs() as lines:
        async with recording(api_server, namespace, user="nobody") as recorder, background_tasks(run=recorder.run()):
            for reason in ("NotReady", "Ready"):
                recorder.say(reason, "so", severity=Severity.NORMAL)
            await asyncio.sleep(1.5)
    told = [line["error"].partition("; ")[2] for line in lines if line["log_level"] == "warning"]
    assert told == [
        f'its user must be allowed to {verbs} of API group "" in namespace {namespace}'
        for verbs in ("get pods", "create and patch events")
    ]


async def test_an_event_that_expired_is_made_again(api_server: ApiServer, namespace: str) -> None:
    async with recording(api_server, namespace) as recorder, background_tasks(run=recorder.run()):
        recorder.say("Ready", "after 3 s", severity=Severity.NORMAL)
        await until_count(api_server, namespace, 1)
        await asyncio.to_thread(api_server.request, "DELETE", f"/api/v1/namespaces/{namespace}/events")
        recorder.say("Ready", "after 4 s", severity=Severity.NORMAL)
        assert (await until_count(api_server, namespace, 2))["message"] == "after 4 s"


async def test_a_fatal_start_is_written_before_the_end_and_a_long_message_is_cut(
    api_server: ApiServer, namespace: str
) -> None:
    async with recording(api_server, namespace) as recorder:
        await recorder.say_now("FatalInitializationError", "x" * 5000, within=3)
    (event,) = await events(api_server, namespace)
    assert event["reason"] == "FatalInitializationError"
    assert event["message"] == "x" * 1024


async def test_an_api_server_that_is_away_holds_nobody_up(own_api_server: ApiServer) -> None:
    own_api_server.hang()
    async with recording(own_api_server, "default") as recorder, asyncio.timeout(3):
        await recorder.say_now("FatalInitializationError", "why", within=1)
    own_api_server.resume()


async def test_without_a_pods_name_nothing_is_written(api_server: ApiServer, namespace: str) -> None:
    async with recording(api_server, namespace, pod="") as recorder:
        await recorder.say_now("FatalInitializationError", "why", within=3)
    assert await events(api_server, namespace) == []
