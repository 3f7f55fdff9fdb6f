"""osm-controller as a process with the permissions of its chart, against a real API server."""

import asyncio
import json
import re
import socket
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from osm_probes.admission.pod import bootstrap_secret_name
from osm_probes.snapshot.snapshot import CLUSTER
from tests.ads.client import final_status, read_message
from tests.ads.messages import SotwResponse, sotw_request
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.controllers import MERGE, PROXY, cluster, controller, stream
from tests.kubernetes.manifests import BOOKSTORE, documents
from tests.standin import until

__all__ = ["cluster"]
pytestmark = pytest.mark.kubernetes


def create_own_pod(cluster: ApiServer) -> None:
    """Create the pod that the controller believes to run in."""
    metadata = {"name": "osm-controller-0", "namespace": "osm-system"}
    spec = {"containers": [{"name": "osm-controller", "image": "a"}]}
    cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def events(cluster: ApiServer) -> dict[str, str]:
    """The messages of all Events, by reason."""
    items = cluster.request("GET", "/api/v1/namespaces/osm-system/events")["items"]
    return {event["reason"]: event["message"] for event in items}


async def test_a_proxy_is_served_as_long_as_its_pod_exists(cluster: ApiServer, tmp_path: Path) -> None:
    _store_bootstrap(cluster)
    with controller(cluster, tmp_path) as program:
        program.until_ready()
        await asyncio.to_thread(until, lambda: _owners(cluster) == [_uid(cluster)], within=15)
        async with stream(program, cluster) as call, asyncio.timeout(10):
            await call.write(sotw_request(CLUSTER))
            await read_message(call)
            await asyncio.to_thread(cluster.delete, _pod("bookstore"))
            code, details = await final_status(call)
            assert code is grpc.StatusCode.PERMISSION_DENIED
            assert PROXY.uuid in details
        async with stream(program, cluster) as call, asyncio.timeout(10):
            # Rejected without a request: a write would race with the rejection.
            assert (await final_status(call))[0] is grpc.StatusCode.PERMISSION_DENIED
        assert not [line for line in program.log.read_text().splitlines() if "forbidden" in line]


def _store_bootstrap(cluster: ApiServer) -> None:
    """Create the bootstrap Secret, as the injector does."""
    metadata = {
        "name": bootstrap_secret_name(PROXY.uuid),
        "namespace": "bookstore",
        "labels": {"osm-proxy-uuid": PROXY.uuid, "app.kubernetes.io/managed-by": "osm-injector"},
    }
    cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})


def _owners(cluster: ApiServer) -> list[str]:
    path = f"/api/v1/namespaces/bookstore/secrets/{bootstrap_secret_name(PROXY.uuid)}"
    return [owner["uid"] for owner in cluster.request("GET", path)["metadata"].get("ownerReferences", [])]


def _uid(cluster: ApiServer) -> str:
    return str(cluster.request("GET", "/api/v1/namespaces/bookstore/pods/bookstore-0")["metadata"]["uid"])


def _pod(namespace: str) -> dict[str, Any]:
    pods = (document for document in documents(BOOKSTORE) if document["kind"] == "Pod")
    return next(pod for pod in pods if pod["metadata"]["namespace"] == namespace)


async def test_two_controllers_serve_the_same_versions(cluster: ApiServer, tmp_path: Path) -> None:
    with controller(cluster, tmp_path / "a") as one, controller(cluster, tmp_path / "b") as other:
        one.until_ready()
        other.until_ready()
        async with stream(one, cluster) as call, asyncio.timeout(10):
            await call.write(sotw_request(CLUSTER))
            version = SotwResponse(await read_message(call)).version
        async with stream(other, cluster) as call:
            await call.write(sotw_request(CLUSTER, version=version))
            reading = asyncio.ensure_future(read_message(call))
            await asyncio.wait({reading}, timeout=1.0)
            assert not reading.done(), "a version that the proxy has is not sent again"
            await asyncio.to_thread(
                cluster.request,
                "PATCH",
                "/apis/config.openservicemesh.io/v1alpha2/namespaces/osm-system/meshconfigs/osm-mesh-config",
                {"spec": {"traffic": {"enableEgress": True}}},
                content_type=MERGE,
            )
            async with asyncio.timeout(5):
                assert SotwResponse(await reading).version != version


def test_a_start_waits_for_an_api_server_that_is_away(cluster: ApiServer, tmp_path: Path) -> None:
    cluster.kill()
    with controller(cluster, tmp_path) as program:
        program.logged("waiting for the certificate authority")
        assert program.get("/health/alive", "-i") == ""
        warning = "warn: the Secret of the certificate authority cannot be read: the API server cannot be reached\n"
        until(lambda: warning in program.get("/health/ready?verbose"), within=2)
        verbose = program.get("/health/ready?verbose")
        assert "[-]ads failed: it has not served yet" in verbose
        assert "osm-system" not in verbose
        assert "warn: Secret osm-system/osm-ca-bundle cannot be read: " in program.debug("/health/ready?verbose")
        cluster.start()
        program.until_ready()
        assert program.stop() == 0


def test_a_waiting_controller_can_be_stopped(cluster: ApiServer, tmp_path: Path) -> None:
    cluster.kill()
    with controller(cluster, tmp_path) as program:
        program.logged("waiting for the certificate authority")
        started = time.monotonic()
        assert program.stop() == 0
        assert time.monotonic() - started < 2


@pytest.mark.parametrize("fault", ["kill", "hang"])
def test_the_loss_of_the_api_server_changes_neither_probe(cluster: ApiServer, tmp_path: Path, fault: str) -> None:
    with controller(cluster, tmp_path) as program:
        program.until_ready()
        before = program.lines("the mesh is not up to date with the cluster")
        getattr(cluster, fault)()
        end = time.monotonic() + 4
        while time.monotonic() < end:
            assert program.get("/health/alive") == "Service is alive"
            assert program.get("/health/ready") == "Service is ready"
            time.sleep(0.2)
        if fault == "kill":
            assert "warn: the last good mesh is served since 20" in program.get("/health/ready?verbose")
            assert len(program.lines("the mesh is not up to date with the cluster")) == len(before) + 1
            cluster.start()
            recovered = "the mesh is up to date with the cluster again"
            until(lambda: len(program.lines(recovered)) == len(before) + 1, within=15)
            until(lambda: "warn" not in program.get("/health/ready?verbose"), within=15)
        else:
            cluster.resume()
        ages = program.get("/metrics").splitlines()
        assert [line for line in ages if line.startswith('osm_kubernetes_watch_age_seconds{kind="pods"}')]


def test_an_invalid_object_is_counted_on_the_probe_port_and_named_on_the_debug_port(
    cluster: ApiServer, tmp_path: Path
) -> None:
    path = "/apis/specs.smi-spec.io/v1alpha4/namespaces/bookstore/httproutegroups"
    group = {
        "apiVersion": "specs.smi-spec.io/v1alpha4",
        "kind": "HTTPRouteGroup",
        "metadata": {"name": "hidden-name"},
        "spec": {"matches": [{"name": "all", "methods": ["no method"]}]},
    }
    with controller(cluster, tmp_path) as program:
        program.until_ready()
        cluster.request("POST", path, group)
        until(lambda: "hidden-name" in program.debug("/health/ready?verbose"), within=15)
        pages = [
            program.get("/health/ready?verbose"),
            program.get("/health/ready", "-H", "Accept: application/json"),
            program.get("/metrics"),
        ]
        assert re.search(r"the last good mesh is served since \S+Z: invalid objects: 1", pages[0])
        assert not [page for page in pages if "hidden-name" in page or "bookstore" in page]
        assert program.get("/health/ready") == "Service is ready"


def test_smi_version_reports_the_served_version_of_a_kind(cluster: ApiServer, tmp_path: Path) -> None:
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/trafficsplits.split.smi-spec.io"
    with controller(cluster, tmp_path) as program:
        program.until_ready()

        def split() -> str:
            return str(json.loads(program.get("/smi/version"))["TrafficSplit"])

        assert split() == "split.smi-spec.io/v1alpha2"
        versions = cluster.request("GET", crd)["spec"]["versions"]
        for version in versions:
            version["served"] = version["name"] == "v1alpha4"
        cluster.request("PATCH", crd, {"spec": {"versions": versions}}, content_type=MERGE)
        until(lambda: split() == "split.smi-spec.io/v1alpha4", within=20)
        assert program.get("/health/ready") == "Service is ready"


async def test_settings_take_effect_without_a_restart(cluster: ApiServer, tmp_path: Path) -> None:
    path = "/apis/config.openservicemesh.io/v1alpha2/namespaces/osm-system/meshconfigs/osm-mesh-config"
    with controller(cluster, tmp_path) as program:
        program.until_ready()
        async with stream(program, cluster) as call, asyncio.timeout(20):
            await call.write(sotw_request(CLUSTER))
            await read_message(call)
            spec = {"observability": {"osmLogLevel": "error"}, "sidecar": {"maxDataPlaneConnections": 1}}
            await asyncio.to_thread(cluster.request, "PATCH", path, {"spec": spec}, content_type=MERGE)
            full = "[-]capacity failed: all 1 places for proxies are taken"
            await asyncio.to_thread(until, lambda: full in program.get("/health/ready?verbose"), within=10)
        # The next event would be logged as a warning, which is below the new log level.
        before = program.lines("the mesh is not up to date with the cluster")
        cluster.kill()
        until(lambda: "warn: the last good mesh is served" in program.get("/health/ready?verbose"), within=10)
        assert program.lines("the mesh is not up to date with the cluster") == before


def test_an_unusable_ca_secret_ends_the_program_with_status_1_and_is_not_changed(
    cluster: ApiServer, tmp_path: Path
) -> None:
    path = "/api/v1/namespaces/osm-system/secrets"
    secret = {"metadata": {"name": "osm-ca-bundle"}, "stringData": {"ca.crt": "nonsense"}}
    cluster.request("POST", path, secret)
    create_own_pod(cluster)
    with controller(cluster, tmp_path) as program:
        assert program.process.wait(20) == 1
        assert "osm-ca-bundle: it has no private.key" in program.logged("cannot start")["error"]
    assert "osm-ca-bundle: it has no private.key" in events(cluster)["FatalCertificateIssuanceFailure"]
    assert set(cluster.request("GET", f"{path}/osm-ca-bundle")["data"]) == {"ca.crt"}


@pytest.mark.parametrize(
    ("flags", "status", "reason", "message"),
    [
        (["--certificate-manager=vault"], 1, "FatalInvalidCertificateManager", "--certificate-manager vault is not"),
        (["--ads-port={taken}"], 1, "FatalInitializationError", "{taken}"),
        (["--http-port={taken}"], 1, "FatalInitializationError", "{taken}"),
        (["--no-such-flag=x", "--vault-token=hush"], 2, "FatalInvalidCLIParameters", "--no-such-flag"),
    ],
)
def test_a_failed_start_leaves_an_event_with_the_reason(
    cluster: ApiServer, tmp_path: Path, flags: list[str], status: int, reason: str, message: str
) -> None:
    create_own_pod(cluster)
    with socket.create_server(("127.0.0.1", 0)) as socket_in_use:
        taken = str(socket_in_use.getsockname()[1])
        arguments = [flag.format(taken=taken) for flag in flags]
        with controller(cluster, tmp_path, "--bind-address=127.0.0.1", *arguments) as program:
            assert program.process.wait(20) == status
    messages = events(cluster)
    assert set(messages) == {reason}
    assert message.format(taken=taken) in messages[reason]
    assert "hush" not in messages[reason]


def test_a_transition_of_readiness_is_an_event_with_its_reason(cluster: ApiServer, tmp_path: Path) -> None:
    create_own_pod(cluster)
    with controller(cluster, tmp_path, "--drain-delay=2s") as program:
        program.until_ready()
        program.process.terminate()
        until(lambda: events(cluster).get("NotReady") == "draining: it is draining", within=10)
