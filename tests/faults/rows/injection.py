"""Rows: what keeps sidecars away from new pods although the webhook itself works."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final

from tests.faults.cluster import api, injecting_cluster, use_api_server
from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.row import Action, Mode, Program, Row
from tests.faults.testbed import FaultTestbed
from tests.kubernetes.manifests import install

_PROXY_PORT: Final = 7443
_CONFIGURATION: Final = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/osm-webhook-osm"
_UPDATES: Final = {"operations": ["UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}


def changed_webhook(**fields: object) -> Callable[[FaultTestbed], AbstractContextManager[None]]:
    """Change these fields of the webhook in its configuration."""

    @contextlib.contextmanager
    def action(testbed: FaultTestbed) -> Iterator[None]:
        before = api(testbed).request("GET", _CONFIGURATION)["webhooks"][0]
        _replace_webhook(testbed, before | fields)
        yield
        _replace_webhook(testbed, before)

    return action


def _replace_webhook(testbed: FaultTestbed, webhook: dict[str, Any]) -> None:
    change = [{"op": "replace", "path": "/webhooks/0", "value": webhook}]
    api(testbed).request("PATCH", _CONFIGURATION, change, content_type="application/json-patch+json")


@contextlib.contextmanager
def storing_cluster(testbed: FaultTestbed) -> Iterator[None]:
    """A cluster to which the program connects through a proxy. Real clients create pods that are stored."""
    mode_file = testbed.folder / "mode"
    mode_file.write_text("")
    with injecting_cluster(testbed):
        server = api(testbed)
        user = "system:serviceaccount:osm-system:osm-injector"
        direct = server.kubeconfig_for(user, "system:serviceaccounts").rename(testbed.folder / "direct.kubeconfig")
        testbed.start_process("faulty_api_server", _PROXY_PORT, server.port, server.pki.folder, direct, mode_file)
        use_api_server(testbed, f"https://127.0.0.1:{_PROXY_PORT}")
        testbed.truth = ("stored-pod", server.port, server.pki.folder)
        yield


@contextlib.contextmanager
def failing_secrets(testbed: FaultTestbed) -> Iterator[None]:
    """Answer 500 to each creation of a Secret."""
    (testbed.folder / "mode").write_text("500")
    yield
    (testbed.folder / "mode").write_text("")


@contextlib.contextmanager
def quotas(testbed: FaultTestbed) -> Iterator[None]:
    """Permit no Secret in any namespace of the mesh."""
    limits = {"hard": {"secrets": "0"}}
    status = {**limits, "used": {"secrets": "0"}}  # set here, because no controller manager runs
    manifests = [
        {
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": namespace},
            "spec": limits, "status": status,
        }
        for namespace in ("bookbuyer", "bookstore")
    ]  # fmt: skip
    install(api(testbed), manifests)
    yield
    for manifest in manifests:
        api(testbed).delete(manifest)


def rows(_mode: Mode) -> tuple[Row, ...]:
    """The rows of this module."""
    fails = Expectation(Truth.FAILS, Alive.STAYS)

    def row(name: str, text: str, fault: Action, *, setup: Action = injecting_cluster) -> Row:
        return Row(f"injector-{name}", text, fault, fails, program=Program.INJECTOR, setup=setup, extra_pods=0)

    nobody = {"matchLabels": {"no": "body"}}
    return (
        row("rules", "webhook's rules without CREATE", changed_webhook(rules=[_UPDATES])),
        row(
            "namespace-selector", "webhook's namespaceSelector selects nobody",
            changed_webhook(namespaceSelector=nobody),
        ),
        row("versions", "webhook's admissionReviewVersions without v1", changed_webhook(
            admissionReviewVersions=["v1beta1"],
        )),
        row("secrets-500", "API server answers 500 to new Secrets", failing_secrets, setup=storing_cluster),
        row("secrets-quota", "quotas forbid Secrets in all namespaces of the mesh", quotas, setup=storing_cluster),
    )  # fmt: skip
