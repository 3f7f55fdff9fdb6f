"""Events on the pods of proxies that reject their configuration: a real controller, a real API server."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from osm_probes.controller.proxy_events import PROXY_EVENTS
from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.connect import connect
from osm_probes.kube.event_object import PodReference, Severity
from osm_probes.kube.events import EventLimits, EventRecorder
from osm_probes.snapshot.snapshot import LISTENER
from tests.ads.client import read_message
from tests.ads.messages import SotwResponse, sotw_request
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.controllers import PROXY, cluster, controller, stream
from tests.kubernetes.waiting import eventually
from tests.log_capture import capture_logs

__all__ = ["cluster"]
pytestmark = pytest.mark.kubernetes


async def events(server: ApiServer, namespace: str) -> dict[str, dict[str, Any]]:
    """All Events of the namespace, by reason."""
    response = await asyncio.to_thread(server.request, "GET", f"/api/v1/namespaces/{namespace}/events")
    return {event["reason"]: event for event in response["items"]}


async def until_event(server: ApiServer, namespace: str, reason: str) -> dict[str, Any]:
    """Wait for the Event with this reason, and return it."""

    async def there() -> bool:
        return reason in await events(server, namespace)

    await eventually(there, within=40)
    return (await events(server, namespace))[reason]


async def test_a_rejection_and_its_end_are_events_on_the_proxys_pod(cluster: ApiServer, tmp_path: Path) -> None:
    with controller(cluster, tmp_path / "controller") as program:
        await asyncio.to_thread(program.until_ready)
        async with stream(program, cluster) as call:
            await call.write(sotw_request(LISTENER))
            first = SotwResponse(await read_message(call))
            await call.write(sotw_request(LISTENER, nonce=first.nonce, error="no such filter\n\x1b[31m"))
            rejected = await until_event(cluster, "bookstore", "ConfigurationRejected")
            pod = cluster.request("GET", "/api/v1/namespaces/bookstore/pods/bookstore-0")
            assert rejected["type"] == "Warning"
            assert rejected["involvedObject"]["uid"] == pod["metadata"]["uid"]
            assert rejected["source"] == {"component": "osm-controller"}
            assert rejected["message"].startswith("LDS: the sidecar uses an old configuration since 20")
            assert rejected["message"].endswith("Z: no such filter  [31m")
        async with stream(program, cluster) as call:
            # As after a restart: the proxy accepts now, so its configuration is no longer old.
            await call.write(sotw_request(LISTENER))
            again = SotwResponse(await read_message(call))
            await call.write(sotw_request(LISTENER, nonce=again.nonce, version=again.version))
            accepted = await until_event(cluster, "bookstore", "ConfigurationAccepted")
            assert (accepted["type"], accepted["message"]) == (
                "Normal",
                "LDS: the sidecar no longer uses an old configuration",
            )
        line = program.logged("a proxy accepted its configuration again")
        assert (line["proxy"], line["type"]) == (PROXY.uuid, LISTENER)


@asynccontextmanager
async def recording(
    server: ApiServer, *, user: str = "", limits: EventLimits = PROXY_EVENTS
) -> AsyncGenerator[EventRecorder]:
    """A recorder of Events about pods in other namespaces."""
    async with connect(str(server.kubeconfig_for(user) if user else server.kubeconfig)) as client:
        recorder = EventRecorder(
            client, namespace="osm-system", pod="osm-controller-0", component="osm-controller", limits=limits
        )
        async with background_tasks(run=recorder.run()):
            yield recorder


async def test_a_missing_permission_is_one_warning_and_the_events_are_dropped(cluster: ApiServer) -> None:
    with capture_logs() as lines:
        async with recording(cluster, user="nobody") as recorder:
            for name in ("bookstore-0", "bookbuyer-0"):
                recorder.record("ConfigurationRejected", "so", severity=Severity.WARNING, pod=PodReference("a", name))

            async def dropped() -> bool:
                return not recorder._entries

            await eventually(dropped, within=20)
    assert [line["event"] for line in lines if line["log_level"] != "debug"] == ["Events cannot be written"]
    assert await events(cluster, "bookstore") == {}


async def test_a_pod_that_was_deleted_meanwhile_gets_no_event_and_causes_no_warning(cluster: ApiServer) -> None:
    with capture_logs() as lines:
        async with recording(cluster) as recorder:
            gone, there = PodReference("bookstore", "gone"), PodReference("bookstore", "bookstore-0")
            recorder.record("ConfigurationRejected", "gone", severity=Severity.WARNING, pod=gone)
            recorder.record("ConfigurationRejected", "there", severity=Severity.WARNING, pod=there)
            event = await until_event(cluster, "bookstore", "ConfigurationRejected")
    assert event["message"] == "there"
    assert [line["event"] for line in lines if line["log_level"] != "debug"] == []


async def test_the_number_of_events_and_of_writes_is_limited(cluster: ApiServer) -> None:
    async with recording(cluster, limits=EventLimits(interval=3600, max_events=2)) as recorder:
        pod = PodReference("bookstore", "bookstore-0")
        for number in range(3):
            recorder.record(f"Reason{number}", "so", severity=Severity.WARNING, pod=pod)
        await until_event(cluster, "bookstore", "Reason1")
        for _ in range(100):
            recorder.record("Reason1", "again", severity=Severity.WARNING, pod=pod)
        await asyncio.sleep(1)
    assert {reason: event["count"] for reason, event in (await events(cluster, "bookstore")).items()} == {
        "Reason0": 1,
        "Reason1": 1,
    }
