"""Rows: faults of the API server, and lost objects of the control plane."""

import base64
import contextlib
from collections.abc import Iterator
from typing import Final

from tests.faults.cluster import (
    SECRETS,
    api,
    check_resynced,
    cluster,
    copy_ca,
    delete_pods,
    injecting_cluster,
    use_api_server,
    webhook_configuration,
)
from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.row import Action, FaultError, Mode, Program, Row
from tests.faults.testbed import REPLICA_HTTP_PORT, WEBHOOK_PORT, FaultTestbed
from tests.kubernetes.apiserver import ApiServer, ApiServerError
from tests.kubernetes.manifests import CRDS, documents, install_crds

_SLOW_PORT: Final = 7443
_CONFIGURATION: Final = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/osm-webhook-osm"


@contextlib.contextmanager
def killed(testbed: FaultTestbed) -> Iterator[None]:
    """Kill the API server; 100 pods are deleted meanwhile."""
    api(testbed).kill()
    yield
    delete_pods(testbed)
    api(testbed).start()
    check_resynced(testbed)


@contextlib.contextmanager
def hung(testbed: FaultTestbed) -> Iterator[None]:
    """Stop the API server, so that it hangs on all connections; 100 pods are deleted meanwhile."""
    api(testbed).hang()
    yield
    delete_pods(testbed)
    api(testbed).resume()
    check_resynced(testbed)


@contextlib.contextmanager
def away_at_start(testbed: FaultTestbed) -> Iterator[None]:
    """No API server when the program starts. The API server starts before the program is expected to be ready."""
    api(testbed).kill()
    yield
    if answer := testbed.run("sh", "-c", "curl -s -i --max-time 5 http://127.0.0.1:9091/health/alive || true"):
        raise FaultError(f"alive responded before the program served: {answer[:60]}")
    api(testbed).start()


@contextlib.contextmanager
def compacted(testbed: FaultTestbed) -> Iterator[None]:
    """Restart the API server with compacted history: watches from an older version get 410; 100 pods are deleted."""
    api(testbed).kill()
    yield
    delete_pods(testbed)
    api(testbed).compact()
    api(testbed).start()
    check_resynced(testbed)


@contextlib.contextmanager
def slow_connection(testbed: FaultTestbed) -> Iterator[None]:
    """Connect the program to the API server through a forwarder, without a delay for now."""
    (testbed.folder / "delay").write_text("0")
    with cluster(testbed):
        testbed.start_process("slow_proxy", _SLOW_PORT, api(testbed).port, testbed.folder / "delay")
        use_api_server(testbed, f"https://127.0.0.1:{_SLOW_PORT}")
        yield


@contextlib.contextmanager
def slowed(testbed: FaultTestbed) -> Iterator[None]:
    """Delay each direction by 0.7 s, and make the program connect again."""
    (testbed.folder / "delay").write_text("0.7")
    api(testbed).kill()
    api(testbed).start()
    yield
    delete_pods(testbed)
    check_resynced(testbed)
    (testbed.folder / "delay").write_text("0")


@contextlib.contextmanager
def forbidden(testbed: FaultTestbed) -> Iterator[None]:
    """Revoke the program's permissions (403), and make it connect again."""
    path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    name = f"{path}/osm-controller-osm-system"
    binding = api(testbed).request("GET", name)
    api(testbed).request("DELETE", name)
    api(testbed).kill()
    api(testbed).start()
    yield
    delete_pods(testbed)
    _expect_warning(testbed, "must be allowed to list and watch")
    del binding["metadata"]["resourceVersion"]
    api(testbed).request("POST", path, binding)
    check_resynced(testbed)


@contextlib.contextmanager
def throttled(testbed: FaultTestbed) -> Iterator[None]:
    """Answer all requests with 429, from a substitute with the API server's port and certificate."""
    server = api(testbed)
    server.kill()
    pki = server.pki.folder
    substitute = testbed.start_process("throttling_server", server.port, pki / "apiserver.crt", pki / "apiserver.key")
    yield
    delete_pods(testbed)
    _expect_warning(testbed, "too many requests")
    substitute.kill()
    substitute.wait(5)
    server.start()
    check_resynced(testbed)


@contextlib.contextmanager
def without_crds(testbed: FaultTestbed) -> Iterator[None]:
    """Delete the chart's CRDs, and create them again."""
    for crd in documents(CRDS):
        api(testbed).delete(crd)
    delete_pods(testbed)
    yield
    install_crds(api(testbed))
    check_resynced(testbed)


@contextlib.contextmanager
def without_ca(testbed: FaultTestbed) -> Iterator[None]:
    """Delete the CA's Secret; the program must restore it unchanged."""
    before = api(testbed).request("GET", f"{SECRETS}/osm-ca-bundle")["data"]
    api(testbed).request("DELETE", f"{SECRETS}/osm-ca-bundle")
    yield
    if _secret(api(testbed)) != before:
        raise FaultError("the CA's Secret was not restored unchanged")


@contextlib.contextmanager
def without_authority(testbed: FaultTestbed) -> Iterator[None]:
    """A cluster without a CA."""
    with cluster(testbed):
        api(testbed).request("DELETE", f"{SECRETS}/osm-ca-bundle")
        for file in testbed.ca.iterdir():
            file.unlink()
        yield


@contextlib.contextmanager
def racing(testbed: FaultTestbed) -> Iterator[None]:
    """Start two controllers at the same time; only one of them may create the CA."""
    testbed.replica()
    testbed.start()
    testbed.eventually(lambda: copy_ca(testbed), what="a CA")
    yield
    logs = ("program.log", "replica.log")
    created = [line for log in logs for line in testbed.logged("a certificate authority is created", log=log)]
    ready = testbed.run("curl", "-s", "--max-time", "5", f"http://127.0.0.1:{REPLICA_HTTP_PORT}/health/ready")
    if len(created) != 1 or ready != "Service is ready":
        raise FaultError(f"{len(created)} authorities were created; the replica's readiness: {ready!r}")


@contextlib.contextmanager
def other_leader(testbed: FaultTestbed) -> Iterator[None]:
    """Another controller holds the Lease."""
    with cluster(testbed):
        testbed.leader = testbed.replica()
        testbed.eventually(lambda: testbed.logged("became the leader", log="replica.log"), what="a leader")
        yield


@contextlib.contextmanager
def leader_killed(testbed: FaultTestbed) -> Iterator[None]:
    """Kill the leader, which does not release the Lease; this controller must take over."""
    if testbed.leader is None or testbed.logged("became the leader"):
        raise FaultError("the other controller is not the leader")
    testbed.leader.kill()
    yield
    if not testbed.logged("became the leader"):
        raise FaultError("the controller did not become the leader")


@contextlib.contextmanager
def without_configuration(testbed: FaultTestbed) -> Iterator[None]:
    """Delete the webhook configuration: pods are created without sidecars."""
    api(testbed).request("DELETE", _CONFIGURATION)
    yield
    api(testbed).create(webhook_configuration())


@contextlib.contextmanager
def overwritten_bundle(testbed: FaultTestbed) -> Iterator[None]:
    """Put another CA into the webhook configuration."""
    before = api(testbed).request("GET", _CONFIGURATION)["webhooks"][0]["clientConfig"]["caBundle"]
    other = base64.b64encode(api(testbed).pki.root_pem).decode()
    change = [{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": other}]
    api(testbed).request("PATCH", _CONFIGURATION, change, content_type="application/json-patch+json")
    testbed.eventually(
        lambda: api(testbed).request("GET", _CONFIGURATION)["webhooks"][0]["clientConfig"]["caBundle"] == before,
        what="the CA bundle is restored",
        within=2.0,
    )
    yield


@contextlib.contextmanager
def injecting_cluster_without_dry_run(testbed: FaultTestbed) -> Iterator[None]:
    """A cluster whose API server will be down, so that real clients connect directly to the webhook.

    They send the canary's review: an API server's would be evidence that the program alone is cut off.
    """
    with injecting_cluster(testbed):
        testbed.truth = ("own-review", WEBHOOK_PORT, testbed.ca)
        yield


@contextlib.contextmanager
def no_api_server(testbed: FaultTestbed) -> Iterator[None]:
    """Kill the API server."""
    api(testbed).kill()
    yield
    api(testbed).start()


def _secret(server: ApiServer) -> object:
    try:
        return server.request("GET", f"{SECRETS}/osm-ca-bundle")["data"]
    except ApiServerError:
        return None


def _expect_warning(testbed: FaultTestbed, text: str) -> None:
    page = testbed.run("curl", "-s", "--max-time", "5", "http://127.0.0.1:9092/health/ready?verbose")
    if text not in page:
        raise FaultError(f"?verbose has no warning: {page[-300:]}")


def rows(_mode: Mode) -> tuple[Row, ...]:
    """The rows of this module."""
    unharmed = Expectation(Truth.HOLDS, Alive.STAYS)

    def row(name: str, text: str, fault: Action) -> Row:
        return Row(f"api-{name}", text, fault, unharmed, setup=cluster, extra_pods=0)

    return (
        Row(
            "api-away-at-start", "API server down at the start", away_at_start,
            Expectation(Truth.FAILS, Alive.STAYS, recovers_within=30.0), setup=cluster, at_start=True, extra_pods=0,
        ),
        row("killed", "API server killed, 100 pods deleted, API server restarted", killed),
        row("hung", "API server hangs, 100 pods deleted", hung),
        Row(
            "api-slow", "0.7 s latency to the API server in each direction", slowed, unharmed, setup=slow_connection,
            extra_pods=0,
        ),
        row("forbidden", "API server returns 403", forbidden),
        row("throttled", "API server returns 429", throttled),
        row("compacted", "API server restarted with compacted history (410)", compacted),
        row("crds-deleted", "CRDs deleted and recreated", without_crds),
        row("ca-deleted", "CA Secret deleted", without_ca),
        Row(
            "api-replicas-race", "no CA yet, two controllers start at the same time", racing,
            Expectation(Truth.EITHER, Alive.STAYS), setup=without_authority, at_start=True, extra_pods=0,
        ),
        Row(
            "api-leader-killed", "leader (holder of the Lease) killed", leader_killed, unharmed,
            setup=other_leader, duration=20.0, extra_pods=0,
        ),
        Row(
            "injector-configuration-deleted", "webhook configuration deleted", without_configuration,
            Expectation(Truth.FAILS, Alive.STAYS), program=Program.INJECTOR, setup=injecting_cluster, extra_pods=0,
        ),
        Row(
            "injector-bundle-overwritten", "CA bundle of the webhook configuration overwritten", overwritten_bundle,
            unharmed, program=Program.INJECTOR, setup=injecting_cluster, extra_pods=0,
        ),
        Row(
            "injector-api-killed", "API server killed and restarted", no_api_server, unharmed,
            program=Program.INJECTOR, setup=injecting_cluster_without_dry_run, duration=20.0, extra_pods=0,
        ),
    )  # fmt: skip
