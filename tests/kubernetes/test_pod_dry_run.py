"""A pod is created in a dry run in a real API server, with a real webhook."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest

from osm_probes.cluster.pod_dry_run import PodDryRun
from osm_probes.cluster.webhook_configuration import WebhookEntry, decode_webhook_entry
from osm_probes.foundation.latest import Latest
from osm_probes.kube.connect import connect
from osm_probes.mesh.labels import MONITORED_BY
from osm_probes.mesh.mesh import Mesh, NamespaceMetadata
from tests.chart.render import rendered
from tests.kubernetes.apiserver import ApiServer
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
    running_injector,
)
from tests.kubernetes.manifests import install
from tests.standin import until

__all__ = ["cluster", "running_injector"]  # fixtures
pytestmark = [pytest.mark.kubernetes, pytest.mark.netns, pytest.mark.timeout(120)]
_DRY = "dry-runs"
_JSON_PATCH, _MERGE_PATCH = "application/json-patch+json", "application/merge-patch+json"
_MESH = Mesh(namespaces={_DRY: NamespaceMetadata({MONITORED_BY: "osm"})})


@pytest.fixture(scope="module")
def shared(running_injector: Injector) -> Injector:
    """An injector with a namespace for dry runs, in which the chart lets it create pods."""
    server = running_injector.cluster
    enrol(server, _DRY, annotation="")
    for document in rendered({"webhook": {"dryRunNamespace": _DRY}})["osm-injector-dry-run-rbac"]:
        server.create(document)
    return running_injector


@contextlib.asynccontextmanager
async def dry_run(
    server: ApiServer, *, user: str = ACCOUNT, mesh: Mesh = _MESH, is_ready: bool = True
) -> AsyncGenerator[PodDryRun, None]:
    """A dry run as this user, with the webhook configuration as it is now."""
    content = json.dumps(await asyncio.to_thread(server.request, "GET", WEBHOOKS)).encode()
    entry: Latest[WebhookEntry | None] = Latest(decode_webhook_entry(content, osm_namespace="osm-system"))
    async with connect(str(server.kubeconfig_for(user, "system:serviceaccounts"))) as client:
        yield PodDryRun(client, Latest(mesh), namespace=_DRY, entry=entry, within=20, is_ready=lambda: is_ready)


async def result(server: ApiServer, **options: Any) -> tuple[str, str]:
    """The problem and the warning of one dry run, with all details."""
    async with dry_run(server, **options) as run:
        await run.try_once()
        return str(run.problem.value), str(run.warning.value)


@contextlib.contextmanager
def changed_webhook(server: ApiServer, **fields: object) -> Iterator[None]:
    """These fields of the webhook are different while the block lasts, and the API server uses them."""
    before = server.request("GET", WEBHOOKS)["webhooks"][0]
    replace_webhook(server, before | fields)
    try:
        until(lambda: not is_injected(server), within=15)
        yield
    finally:
        replace_webhook(server, before)
        until(lambda: is_injected(server), within=15)


def is_injected(server: ApiServer) -> bool:
    """Whether a new pod gets a sidecar."""
    with contextlib.suppress(Exception):
        return has_sidecar(create_pod(server, _DRY, query="?dryRun=All", annotation="enabled"))
    return False


def replace_webhook(server: ApiServer, webhook: dict[str, Any]) -> None:
    """Replace the only webhook of the configuration."""
    change = [{"op": "replace", "path": "/webhooks/0", "value": webhook}]
    server.request("PATCH", WEBHOOKS, change, content_type=_JSON_PATCH)


async def test_a_dry_run_with_a_sidecar_is_no_problem_and_stores_no_pod(shared: Injector) -> None:
    assert await result(shared.cluster) == ("", "")
    assert shared.cluster.request("GET", f"/api/v1/namespaces/{_DRY}/pods")["items"] == []


_RULE = {"operations": ["UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "scope": "*"}
_DEAD = {"url": f"https://{NAME}:1/mutate-pod-creation"}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"rules": [_RULE]}, "gets no sidecar"),
        ({"objectSelector": {"matchLabels": {"no": "pod"}}}, "gets no sidecar"),
        ({"matchConditions": [{"name": "never", "expression": "object.metadata.namespace == 'x'"}]}, "gets no sidecar"),
        (
            {"matchConditions": [{"name": "odd", "expression": "object.metadata.nothing == 'x'"}]},
            "matchConditions fail",
        ),
        ({"clientConfig": _DEAD}, "the API server cannot call the webhook"),
        ({"clientConfig": _DEAD, "failurePolicy": "Ignore"}, "gets no sidecar"),
    ],
)
async def test_a_dry_run_without_a_sidecar_is_a_problem(
    shared: Injector, fields: dict[str, object], reason: str
) -> None:
    with changed_webhook(shared.cluster, **fields):
        problem, warning = await result(shared.cluster)
    assert warning == ""
    assert reason in problem


async def test_a_failed_call_says_nothing_while_the_injector_is_not_ready(shared: Injector) -> None:
    with changed_webhook(shared.cluster, clientConfig=_DEAD):
        problem, warning = await result(shared.cluster, is_ready=False)
    assert problem == ""
    assert "failed calling webhook" in warning


async def test_a_failed_call_is_no_problem_every_fifth_time_so_that_the_service_can_send_reviews_again(
    shared: Injector,
) -> None:
    problems = []
    with changed_webhook(shared.cluster, clientConfig=_DEAD):
        async with dry_run(shared.cluster) as run:
            for _ in range(6):
                await run.try_once()
                problems.append(bool(run.problem.value))
    assert problems == [True, True, True, True, False, True]


async def test_a_refusal_by_a_quota_is_a_warning(shared: Injector) -> None:
    limits = {"hard": {"pods": "0"}}
    quota: dict[str, Any] = {"apiVersion": "v1", "kind": "ResourceQuota", "spec": limits}
    quota |= {"metadata": {"name": "none", "namespace": _DRY}, "status": {**limits, "used": {"pods": "0"}}}
    install(shared.cluster, [quota])
    until(lambda: not is_injected(shared.cluster), within=15)
    try:
        problem, warning = await result(shared.cluster)
    finally:
        shared.cluster.delete(quota)
        until(lambda: is_injected(shared.cluster), within=15)
    assert problem == ""
    assert "exceeded quota" in warning


async def test_a_refusal_by_pod_security_is_a_warning(shared: Injector) -> None:
    path, key = f"/api/v1/namespaces/{_DRY}", "pod-security.kubernetes.io/enforce"
    for level in ("restricted", None):
        change = {"metadata": {"labels": {key: level}}}
        shared.cluster.request("PATCH", path, change, content_type=_MERGE_PATCH)
        if level:
            until(lambda: not is_injected(shared.cluster), within=15)
            problem, warning = await result(shared.cluster)
    assert problem == ""
    assert "violates PodSecurity" in warning


async def test_a_missing_permission_is_a_warning(shared: Injector) -> None:
    problem, warning = await result(shared.cluster, user="system:serviceaccount:osm-system:somebody-else")
    assert problem == ""
    assert 'cannot create resource "pods"' in warning


async def test_a_namespace_outside_the_mesh_is_a_warning(shared: Injector) -> None:
    with changed_webhook(shared.cluster, rules=[_RULE]):
        problem, warning = await result(shared.cluster, mesh=Mesh())
    assert problem == ""
    assert "run osm namespace add" in warning


def test_the_program_is_not_ready_after_a_dry_run_without_a_sidecar(shared: Injector, tmp_path: Path) -> None:
    never = [{"name": "never", "expression": "object.metadata.namespace == 'x'"}]
    with (
        changed_webhook(shared.cluster, matchConditions=never),
        injector(shared.cluster, tmp_path / "second", f"--dry-run-namespace={_DRY}") as second,
    ):
        second.program.until_ready()
        assert "warn: matchConditions are set" in second.program.get("/health/ready?verbose")
        reason = "[-]dry-run failed: a pod that is created in a dry run gets no sidecar"
        until(lambda: reason in second.program.get("/health/ready?verbose"), within=60)
        until(lambda: second.healthz() == "", within=5)
        assert second.program.get("/health/alive") == "Service is alive"
