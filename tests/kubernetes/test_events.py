"""Events about a pod, in a real API server."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.connect import connect
from osm_probes.kube.event_object import Severity
from osm_probes.kube.events import EventRecorder
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.waiting import eventually
from tests.log_capture import capture_logs

pytestmark = pytest.mark.kubernetes


@pytest.fixture
def namespace(api_server: ApiServer, namespace: str) -> str:
    """A new namespace with the pod osm-controller-0."""
    spec = {"containers": [{"name": "a", "image": "a"}]}
    metadata = {"name": "osm-controller-0", "namespace": namespace}
    api_server.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    return namespace


@asynccontextmanager
async def recording(
    server: ApiServer, namespace: str, *, pod: str = "osm-controller-0", user: str = ""
) -> AsyncGenerator[EventRecorder]:
    """A recorder whose `run` is not started."""
    async with connect(str(server.kubeconfig_for(user) if user else server.kubeconfig)) as client:
        yield EventRecorder(client, namespace=namespace, pod=pod, component="osm-controller")


async def events(server: ApiServer, namespace: str) -> list[dict[str, Any]]:
    """All Events of the namespace."""
    response = await asyncio.to_thread(server.request, "GET", f"/api/v1/namespaces/{namespace}/events")
    items: list[dict[str, Any]] = response["items"]
    return items


async def until_count(server: ApiServer, namespace: str, count: int) -> dict[str, Any]:
    """Wait until there is one Event with this count, and return it."""

    async def counts() -> bool:
        return [event["count"] for event in await events(server, namespace)] == [count]

    await eventually(counts, within=15)
    return (await events(server, namespace))[0]


async def test_an_event_names_the_pods_uid_and_a_repetition_raises_its_count(
    api_server: ApiServer, namespace: str
) -> None:
    async with recording(api_server, namespace) as recorder, background_tasks(run=recorder.run()):
        recorder.record("Unready", "ads: refused", severity=Severity.WARNING)
        first = await until_count(api_server, namespace, 1)
        pod = api_server.request("GET", f"/api/v1/namespaces/{namespace}/pods/osm-controller-0")
        assert first["involvedObject"]["uid"] == pod["metadata"]["uid"]
        assert (first["reason"], first["type"], first["message"]) == ("Unready", "Warning", "ads: refused")
        assert first["source"] == {"component": "osm-controller"}
        for number in range(1000):
            recorder.record("Unready", f"ads: refused {number}", severity=Severity.WARNING)
        again = await until_count(api_server, namespace, 1001)
        assert again["message"] == "ads: refused 999"
        assert again["firstTimestamp"] == first["firstTimestamp"]
        assert again["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]


async def test_new_reasons_can_be_recorded_while_others_are_written(api_server: ApiServer, namespace: str) -> None:
    async with recording(api_server, namespace) as recorder, background_tasks(run=recorder.run()):
        reasons = {f"Reason{number}" for number in range(20)}
        for reason in reasons:
            recorder.record(reason, "so", severity=Severity.NORMAL)
            await asyncio.sleep(0.002)

        async def all_there() -> bool:
            return {event["reason"] for event in await events(api_server, namespace)} == reasons

        await eventually(all_there, within=10)


async def test_a_reason_has_one_event_for_each_severity(api_server: ApiServer, namespace: str) -> None:
    async with recording(api_server, namespace) as recorder, background_tasks(run=recorder.run()):
        for severity in (Severity.NORMAL, Severity.WARNING, Severity.NORMAL):
            recorder.record("NotReady", severity.value, severity=severity)

        async def both_there() -> bool:
            written = await events(api_server, namespace)
            return sorted((event["type"], event["count"]) for event in written) == [("Normal", 2), ("Warning", 1)]

        await eventually(both_there, within=10)


async def test_characters_that_are_invalid_in_utf_8_are_replaced(api_server: ApiServer, namespace: str) -> None:
    async with recording(api_server, namespace) as recorder:
        await recorder.record_now("FatalInvalidCLIParameters", "unrecognized arguments: --\udcff", within=3)
    (event,) = await events(api_server, namespace)
    assert event["message"] == "unrecognized arguments: --?"


async def test_occurrences_while_the_api_server_is_away_are_written_later_with_their_own_time(
    own_api_server: ApiServer,
) -> None:
    own_api_server.kill()
    async with recording(own_api_server, "default") as recorder, background_tasks(run=recorder.run()):
        for _ in range(3):
            recorder.record("NotReady", "mesh: cannot be watched", severity=Severity.WARNING)
        recorded_at = datetime.now(UTC)
        await asyncio.sleep(3)
        await asyncio.to_thread(own_api_server.start)
        event = await until_count(own_api_server, "default", 3)
    for timestamp in ("firstTimestamp", "lastTimestamp"):
        assert abs((datetime.fromisoformat(event[timestamp]) - recorded_at).total_seconds()) < 2


async def test_a_missing_permission_is_logged_once_with_its_name(api_server: ApiServer, namespace: str) -> None:
    with capture_logs() as lines:
        async with recording(api_server, namespace, user="nobody") as recorder, background_tasks(run=recorder.run()):
            for reason in ("NotReady", "Ready"):
                recorder.record(reason, "so", severity=Severity.NORMAL)
            await asyncio.sleep(1.5)
    permissions = [line["error"].partition("; ")[2] for line in lines if line["log_level"] == "warning"]
    assert permissions == [
        f'its user must be allowed to {verbs} of API group "" in namespace {namespace}'
        for verbs in ("get pods", "create and patch events")
    ]


async def test_an_expired_event_is_created_again(api_server: ApiServer, namespace: str) -> None:
    async with recording(api_server, namespace) as recorder, background_tasks(run=recorder.run()):
        recorder.record("Ready", "after 3 s", severity=Severity.NORMAL)
        await until_count(api_server, namespace, 1)
        await asyncio.to_thread(api_server.request, "DELETE", f"/api/v1/namespaces/{namespace}/events")
        recorder.record("Ready", "after 4 s", severity=Severity.NORMAL)
        assert (await until_count(api_server, namespace, 2))["message"] == "after 4 s"


async def test_a_fatal_error_is_written_before_the_program_exits_and_a_long_message_is_truncated(
    api_server: ApiServer, namespace: str
) -> None:
    async with recording(api_server, namespace) as recorder:
        await recorder.record_now("FatalInitializationError", "x" * 5000, within=3)
    (event,) = await events(api_server, namespace)
    assert event["reason"] == "FatalInitializationError"
    assert event["message"] == "x" * 1024


async def test_a_hanging_api_server_does_not_delay_the_exit(own_api_server: ApiServer) -> None:
    own_api_server.hang()
    async with recording(own_api_server, "default") as recorder, asyncio.timeout(3):
        await recorder.record_now("FatalInitializationError", "why", within=1)
    own_api_server.resume()


async def test_without_a_pods_name_no_event_is_written(api_server: ApiServer, namespace: str) -> None:
    async with recording(api_server, namespace, pod="") as recorder:
        await recorder.record_now("FatalInitializationError", "why", within=3)
    assert await events(api_server, namespace) == []
