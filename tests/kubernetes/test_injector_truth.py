"""osm-injector says no, with the reason, while a real API server would give new pods no sidecar."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kubernetes.apiserver import ApiServer, ApiServerError
from tests.kubernetes.faulty import FaultyConnection, faulty_connection
from tests.kubernetes.injectors import (
    ACCOUNT,
    NAME,
    WEBHOOKS,
    Injector,
    cluster,
    create_pod,
    enrol,
    has_sidecar,
    injector,
)
from tests.kubernetes.manifests import install
from tests.standin import until

__all__ = ["cluster"]  # a fixture
pytestmark = [pytest.mark.kubernetes, pytest.mark.netns, pytest.mark.timeout(120)]
_JSON_PATCH = "application/json-patch+json"


@pytest.fixture(scope="module")
def connection(cluster: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyConnection]:
    """The injector's connection to the API server."""
    folder = tmp_path_factory.mktemp("connection")
    with faulty_connection(cluster, ACCOUNT, "system:serviceaccounts", folder=folder) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared(
    cluster: ApiServer, connection: FaultyConnection, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Injector]:
    """An injector with one namespace in its mesh."""
    with injector(cluster, tmp_path_factory.mktemp("injector"), kubeconfig=connection.kubeconfig) as running:
        cluster.create(running.configuration)
        enrol(cluster, "shop")
        running.program.until_ready()
        until(lambda: pod_has_sidecar(cluster), within=15)
        yield running


def pod_has_sidecar(server: ApiServer, namespace: str = "shop") -> bool:
    """Whether a new pod is created with its sidecar."""
    try:
        return has_sidecar(create_pod(server, namespace))
    except ApiServerError:
        return False


def failing(injector: Injector, check: str) -> str:
    """The line of `?verbose` about this check if it fails."""
    lines = injector.program.get("/health/ready?verbose").splitlines()
    return next((line for line in lines if line.startswith(f"[-]{check} failed: ")), "")


def expect_no(injector: Injector, check: str, reason: str, *, within: float = 30) -> None:
    """Wait until readiness says no for this reason on both ports; liveness goes on saying yes."""
    until(lambda: reason in failing(injector, check), within=within)
    until(lambda: injector.healthz() == "", within=5)
    assert injector.program.get("/health/alive") == "Service is alive"


def expect_yes(injector: Injector, *, within: float = 30) -> None:
    """Wait until readiness says yes on both ports, and pods get sidecars."""
    until(lambda: injector.program.get("/health/ready") == "Service is ready", within=within)
    until(lambda: injector.healthz() == "Health OK", within=5)
    until(lambda: pod_has_sidecar(injector.cluster), within=15)


@contextlib.contextmanager
def changed_webhook(server: ApiServer, **fields: object) -> Iterator[None]:
    """These fields of the webhook are different while the block lasts."""
    before = server.request("GET", WEBHOOKS)["webhooks"][0]
    replace_webhook(server, {**before, **fields})
    try:
        yield
    finally:
        replace_webhook(server, before)


def replace_webhook(server: ApiServer, webhook: dict[str, Any]) -> None:
    """Replace the only webhook of the configuration."""
    change = [{"op": "replace", "path": "/webhooks/0", "value": webhook}]
    server.request("PATCH", WEBHOOKS, change, content_type=_JSON_PATCH)


_RULE = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "scope": "*"}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"rules": [_RULE | {"operations": ["UPDATE"]}]}, "no rule has operation CREATE"),
        ({"rules": [_RULE | {"resources": ["configmaps"]}]}, "no rule has operation CREATE"),
        ({"namespaceSelector": {"matchLabels": {"no": "body"}}}, "namespaceSelector selects none of the mesh's 1"),
        ({"matchConditions": [{"name": "never", "expression": "false"}]}, "matchConditions are never met"),
        ({"objectSelector": {"matchLabels": {"no": "body"}}}, "objectSelector demands labels, and no review"),
    ],
)  # fmt: skip
def test_a_configuration_with_which_pods_are_created_bare_is_a_no(
    shared: Injector, fields: dict[str, Any], reason: str
) -> None:
    with changed_webhook(shared.cluster, **fields):
        expect_no(shared, "configuration", reason)
        # The API server sees the change a moment later.
        until(lambda: not has_sidecar(create_pod(shared.cluster, "shop")), within=10)
    expect_yes(shared)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"admissionReviewVersions": ["v1beta1"]}, "admissionReviewVersions does not begin with v1"),
        ({"clientConfig": {"url": "https://127.0.0.1:1/mutate-pod-creation"}}, "does not call this injector's Service"),
        ({"clientConfig": {"url": f"https://{NAME}:PORT/mutate"}}, "the path in clientConfig.url is not"),
    ],
)
def test_a_configuration_with_which_pods_are_refused_is_a_no(
    shared: Injector, fields: dict[str, Any], reason: str
) -> None:
    if "clientConfig" in fields:
        url = fields["clientConfig"]["url"].replace("PORT", str(shared.program.served_port))
        fields = {"clientConfig": {"url": url, "caBundle": shared.bundle()}}
    with changed_webhook(shared.cluster, **fields):
        expect_no(shared, "configuration", reason)
        until(lambda: not pod_has_sidecar(shared.cluster), within=10)
    expect_yes(shared)


def test_a_renamed_webhook_is_a_yes_and_its_bundle_is_still_repaired(shared: Injector) -> None:
    right = shared.bundle()
    with changed_webhook(shared.cluster, name="mine.example.org"):
        wrong = [{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": ""}]
        shared.cluster.request("PATCH", WEBHOOKS, wrong, content_type=_JSON_PATCH)
        until(lambda: shared.bundle() == right, within=10)
        expect_yes(shared)
    expect_yes(shared)


@pytest.mark.parametrize("status", ["500", "503"])
def test_an_api_server_that_fails_when_secrets_are_created_is_a_no(
    shared: Injector, connection: FaultyConnection, status: str
) -> None:
    with connection.failing(status):
        expect_no(shared, "bootstraps", f"the API server answers {status} when a bootstrap is stored")
        assert not pod_has_sidecar(shared.cluster)
    expect_yes(shared)


def test_a_failed_bootstrap_is_a_no_at_once(shared: Injector, connection: FaultyConnection) -> None:
    with connection.failing("500"):
        assert not pod_has_sidecar(shared.cluster)
        expect_no(shared, "bootstraps", "the API server answers 500", within=10)
    expect_yes(shared)


def test_an_api_server_that_hangs_when_secrets_are_created_is_a_no(
    shared: Injector, connection: FaultyConnection
) -> None:
    with connection.failing("hang"):
        expect_no(shared, "bootstraps", "the API server does not answer within 15 s when a bootstrap", within=60)
    expect_yes(shared)


def test_an_api_server_that_stores_secrets_slowly_is_a_yes_because_pods_wait_for_it(
    shared: Injector, connection: FaultyConnection
) -> None:
    with connection.failing("slow"):
        end = time.monotonic() + 35  # two rehearsals
        while time.monotonic() < end:
            assert shared.program.get("/health/ready") == "Service is ready"
            time.sleep(0.5)
        assert has_sidecar(create_pod(shared.cluster, "shop"))
    expect_yes(shared)


def quota(namespace: str) -> dict[str, Any]:
    """A quota that permits no Secret. Its status is set here, because no controller manager runs."""
    limits = {"hard": {"secrets": "0"}}
    metadata = {"name": "none", "namespace": namespace}
    status = {**limits, "used": {"secrets": "0"}}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": limits, "status": status}


def test_a_quota_of_one_namespace_is_a_warning_and_quotas_of_all_are_a_no(shared: Injector) -> None:
    server = shared.cluster
    enrol(server, "full")
    install(server, [quota("full")])
    until(lambda: not pod_has_sidecar(server, "full"), within=10)
    warning = "warn: pods are refused in 1 of the mesh's namespaces, which do not accept bootstraps: the log names them"
    until(lambda: warning in shared.program.get("/health/ready?verbose"), within=30)
    assert "full: " in shared.program.logged("pods are refused in namespaces that do not accept bootstraps")["error"]
    expect_yes(shared)
    install(server, [quota("shop")])
    until(lambda: not pod_has_sidecar(server), within=10)
    expect_no(shared, "bootstraps", "each of the 2 namespaces that were tried refuses bootstraps")
    for namespace in ("full", "shop"):
        server.delete(quota(namespace))
    expect_yes(shared)
    until(lambda: warning not in shared.program.get("/health/ready?verbose"), within=30)


def test_an_injector_that_alone_is_cut_off_from_the_api_server_is_a_no(
    shared: Injector, connection: FaultyConnection
) -> None:
    with connection.failing("cut"):
        started = time.monotonic()
        until(lambda: "is unknown" in shared.program.get("/health/ready?verbose"), within=30)
        assert "warn: the API server cannot be reached since 20" in shared.program.get("/health/ready?verbose")
        assert time.monotonic() - started > 8
        # Without reviews there is no evidence that others reach the API server. A dry run is answered all the same.
        assert has_sidecar(create_pod(shared.cluster, "shop", query="?dryRun=All"))
        assert shared.program.get("/health/ready") == "Service is ready"
        assert not pod_has_sidecar(shared.cluster)
        expect_no(
            shared, "api-server", "reviews arrive, but the requests of this injector to the API server have failed"
        )
    expect_yes(shared)
