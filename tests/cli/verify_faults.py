"""Runs of `osm verify control-plane`, and faults that it must find."""

import contextlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.cli.command_result import CommandResult, run_osm
from tests.cli.control_plane_manifests import MERGE, patch_status, pod
from tests.cli.running_control_plane import NAMESPACE, RunningControlPlane
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.manifests import install

VERIFY: Final = ("verify", "control-plane")
HEALTHY: Final = """\
Control planes: Success
├── Mesh osm in namespace osm-system: Success
│   ├── Own namespace is not injected: Success
│   ├── Deployment osm-controller: Success
│   ├── Deployment osm-injector: Success
│   ├── Pod osm-controller-0: Success
│   │   ├── No sidecar: Success
│   │   ├── Running: Success
│   │   ├── Events: Success
│   │   ├── Log: Success
│   │   ├── Probe alive: Success
│   │   ├── Probe ready: Success
│   │   ├── Certificates: Success
│   │   └── Proxies: Success
│   ├── Pod osm-injector-0: Success
│   │   ├── No sidecar: Success
│   │   ├── Running: Success
│   │   ├── Events: Success
│   │   ├── Log: Success
│   │   ├── Probe alive: Success
│   │   ├── Probe ready: Success
│   │   ├── Certificates: Success
│   │   └── Webhook certificate: Success
│   ├── Webhook osm-webhook-osm: Success
│   ├── Services: Success
│   │   ├── osm-controller: Success
│   │   └── osm-injector: Success
│   ├── Permissions of osm-controller: Success
│   ├── Permissions of osm-injector: Success
│   ├── Lease holder: Success
│   └── Versions: Success
├── IPv6 rules: Success
└── CRDs: Success
    ├── meshconfigs.config.openservicemesh.io: Success
    ├── traffictargets.access.smi-spec.io: Success
    ├── httproutegroups.specs.smi-spec.io: Success
    ├── tcproutes.specs.smi-spec.io: Success
    └── trafficsplits.split.smi-spec.io: Success
"""


def findings(result: CommandResult) -> dict[str, list[str]]:
    """By its path in the tree, each result that is not a success: status, reasons, and suggestions after an arrow."""
    return dict(_findings(json.loads(result.out), ""))


def _findings(result: dict[str, Any], parent: str) -> Iterator[tuple[str, list[str]]]:
    path = f"{parent}{result['name'].replace('Mesh osm in namespace osm-system', 'osm')}"
    if result.get("reasons"):
        suggestions = [f"-> {suggestion}" for suggestion in result.get("suggestions", [])]
        reasons = [re.sub(r"\d+\.\d+\.\d+\.\d+:\d+", "ADDRESS", reason) for reason in result["reasons"]]
        yield path.removeprefix("Control planes/"), [result["status"], *reasons, *suggestions]
    for part in result.get("results", []):
        yield from _findings(part, f"{path}/")


def verify(control_plane: RunningControlPlane, *words: str) -> tuple[int, dict[str, list[str]]]:
    """Run `osm verify control-plane`; return its exit status and findings."""
    result = run_osm(*VERIFY, "-o", "json", *words, cluster=control_plane.cluster)
    assert result.err == ""
    return result.status, findings(result)


@contextlib.contextmanager
def patched(cluster: ApiServer, path: str, patch: dict[str, Any], restore: dict[str, Any]) -> Iterator[None]:
    """Patch an object, and restore it after the block."""
    cluster.request("PATCH", path, patch, content_type=MERGE)
    try:
        yield
    finally:
        cluster.request("PATCH", path, restore, content_type=MERGE)


@contextlib.contextmanager
def additional_pod(
    control_plane: RunningControlPlane, name: str, *, images: tuple[str, ...] = (), **status: Any
) -> Iterator[dict[str, Any]]:
    """Create one more pod of osm-controller, with these fields in its status. Nothing listens on its probe port."""
    document = pod(name, app="osm-controller", namespace=NAMESPACE, mesh="osm", port=1, images=images)
    install(control_plane.cluster, [document])
    patch_status(control_plane.cluster, document, **status)
    try:
        yield document
    finally:
        control_plane.cluster.delete(document)


def grant(cluster: ApiServer, user: str, rules: list[dict[str, Any]]) -> None:
    """Grant permissions to a user in all namespaces."""
    meta = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": user}}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
    cluster.create({**meta, "kind": "ClusterRole", "rules": rules})
    cluster.create({**meta, "kind": "ClusterRoleBinding", "roleRef": role, "subjects": [subject]})


@contextlib.contextmanager
def event(
    control_plane: RunningControlPlane,
    reason: str,
    message: str,
    *,
    kind: str = "Warning",
    count: int = 1,
    ago: float = 0,
) -> Iterator[None]:
    """Create an Event of a kubelet about the controller's pod, which happened `ago` seconds before now."""
    at = (datetime.now(UTC) - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = control_plane.cluster.create(
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": "test-", "namespace": NAMESPACE},
            "involvedObject": {"kind": "Pod", "namespace": NAMESPACE, "name": "osm-controller-0"},
            "reason": reason,
            "message": message,
            "type": kind,
            "count": count,
            "lastTimestamp": at,
        }
    )
    try:
        yield
    finally:
        control_plane.cluster.delete(document)
