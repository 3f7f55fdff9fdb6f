"""What `osm verify control-plane` finds, and faults for it to find."""

import contextlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.cli.command import Said, osm
from tests.cli.installed import MERGE, pod, report
from tests.cli.live import HOME, Live
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.manifests import install

VERIFY: Final = ("verify", "control-plane")
WELL: Final = """\
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
│   │   └── Certificates: Success
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
└── CRDs: Success
    ├── meshconfigs.config.openservicemesh.io: Success
    ├── traffictargets.access.smi-spec.io: Success
    ├── httproutegroups.specs.smi-spec.io: Success
    ├── tcproutes.specs.smi-spec.io: Success
    └── trafficsplits.split.smi-spec.io: Success
"""


def findings(said: Said) -> dict[str, list[str]]:
    """All that is not well, by its place in the tree: its status, reasons, and suggestions after arrows."""
    return dict(_findings(json.loads(said.out), ""))


def _findings(result: dict[str, Any], above: str) -> Iterator[tuple[str, list[str]]]:
    place = f"{above}{result['name'].replace('Mesh osm in namespace osm-system', 'osm')}"
    if result.get("reasons"):
        suggestions = [f"-> {each}" for each in result.get("suggestions", [])]
        reasons = [re.sub(r"\d+\.\d+\.\d+\.\d+:\d+", "ADDRESS", each) for each in result["reasons"]]
        yield place.removeprefix("Control planes/"), [result["status"], *reasons, *suggestions]
    for part in result.get("results", []):
        yield from _findings(part, f"{place}/")


def verified(live: Live, *words: str) -> tuple[int, dict[str, list[str]]]:
    """The exit status and the findings."""
    said = osm(*VERIFY, "-o", "json", *words, cluster=live.cluster)
    assert said.err == ""
    return said.status, findings(said)


@contextlib.contextmanager
def changed(cluster: ApiServer, path: str, patch: dict[str, Any], back: dict[str, Any]) -> Iterator[None]:
    """An object with a change, which is undone after the block."""
    cluster.request("PATCH", path, patch, form=MERGE)
    try:
        yield
    finally:
        cluster.request("PATCH", path, back, form=MERGE)


@contextlib.contextmanager
def another_pod(live: Live, name: str, *, images: tuple[str, ...] = (), **status: Any) -> Iterator[dict[str, Any]]:
    """One more controller, of which a kubelet reports this."""
    document = pod(name, app="osm-controller", home=HOME, mesh="osm", port=1, images=images)
    install(live.cluster, [document])
    report(live.cluster, document, **status)
    try:
        yield document
    finally:
        live.cluster.delete(document)


def grant(cluster: ApiServer, user: str, rules: list[dict[str, Any]]) -> None:
    """What a user may do everywhere."""
    meta = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": user}}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
    cluster.create({**meta, "kind": "ClusterRole", "rules": rules})
    cluster.create({**meta, "kind": "ClusterRoleBinding", "roleRef": role, "subjects": [subject]})


@contextlib.contextmanager
def event(
    live: Live, reason: str, message: str, *, kind: str = "Warning", count: int = 1, ago: float = 0
) -> Iterator[None]:
    """What a kubelet told about the controller's pod."""
    at = (datetime.now(UTC) - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = live.cluster.create(
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": "told-", "namespace": HOME},
            "involvedObject": {"kind": "Pod", "namespace": HOME, "name": "osm-controller-0"},
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
        live.cluster.delete(document)
