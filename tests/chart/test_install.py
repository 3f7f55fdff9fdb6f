"""The chart in a real cluster: installed, upgraded and uninstalled with Helm 3 and Helm 4."""

import contextlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.chart.helms import Helm, Helm4, HelmError
from tests.chart.render import MATRIX, Manifest, Values, objects, rendered
from tests.kubernetes.apiserver import ApiServer, ApiServerError, path_of

pytestmark = [pytest.mark.helm, pytest.mark.helm3, pytest.mark.kubernetes]
# Written by another field manager, as osm-injector does.
BUNDLE = "b3VycyBhbG9uZQ=="
QUICK: Values = {"webhook": {"timeoutSeconds": 1}}
RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}
# Without the set that needs the Prometheus operator's CRDs.
INSTALLABLE = {name: values for name, values in MATRIX.items() if name != "watched"}
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Release:
    """An installed release. `name` is its mesh name and its namespace, which enforces "restricted"."""

    helm: Helm
    cluster: ApiServer
    name: str
    values: Values

    def upgrade(self, values: Values) -> None:
        """Upgrade the release to these values."""
        self.helm.upgrade("osm", self.name, {**values, "meshName": self.name})

    def path(self, kind: str) -> str:
        """The API path of the release's webhook configuration ("webhook") or MeshConfig (any other kind)."""
        group = {"webhook": "admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/osm-webhook-"}
        if kind in group:
            return f"/apis/{group[kind]}{self.name}"
        return f"/apis/config.openservicemesh.io/v1alpha2/namespaces/{self.name}/meshconfigs/osm-mesh-config"

    def get(self, kind: str) -> Manifest:
        """The object at `path(kind)`."""
        return self.cluster.request("GET", self.path(kind))

    @property
    def settings(self) -> Values:
        """The MeshConfig's spec without empty sections."""
        return {name: fields for name, fields in self.get("settings")["spec"].items() if fields}


@contextlib.contextmanager
def installed(helm: Helm, cluster: ApiServer, values: Values) -> Iterator[Release]:
    """A new release; it is uninstalled after the block if it still exists."""
    name = f"osm-{next(_numbers)}"
    create_namespace(cluster, name, **RESTRICTED)
    helm.install("osm", name, {**values, "meshName": name})
    try:
        yield Release(helm, cluster, name, values)
    finally:
        with contextlib.suppress(HelmError):
            helm.uninstall("osm", name)


def create_namespace(cluster: ApiServer, name: str, **labels: str) -> None:
    """Create a namespace with these labels."""
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})


def create_pod(cluster: ApiServer, namespace: str, spec: dict[str, Any], *, query: str = "") -> None:
    """Create a pod. Raises ApiServerError."""
    body = {"metadata": {"generateName": "pod-"}, "spec": spec}
    cluster.request("POST", f"/api/v1/namespaces/{namespace}/pods{query}", body)


PLAIN = {"containers": [{"name": "app", "image": "app"}]}


@pytest.mark.parametrize("values", INSTALLABLE.values(), ids=INSTALLABLE)
def test_the_api_server_accepts_every_field(cluster: ApiServer, values: Values) -> None:
    with contextlib.suppress(ApiServerError):
        create_namespace(cluster, "osm-system", **RESTRICTED)
    with installed(Helm4(cluster), cluster, {}):  # installs the CRDs
        for manifest in [*objects(values), *rendered(values)["tests/probes"]]:
            cluster.request("POST", f"{path_of(manifest)}?dryRun=All&fieldValidation=Strict", manifest)


def test_strict_validation_rejects_an_unknown_field(cluster: ApiServer) -> None:
    with contextlib.suppress(ApiServerError):
        create_namespace(cluster, "osm-system", **RESTRICTED)
    (wrong,) = rendered()["osm-controller-service"]
    wrong["spec"]["portz"] = []
    with pytest.raises(ApiServerError, match="unknown field"):
        cluster.request("POST", f"{path_of(wrong)}?dryRun=All&fieldValidation=Strict", wrong)


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_the_control_planes_pods_are_accepted_in_a_restricted_namespace(cluster: ApiServer, values: Values) -> None:
    with contextlib.suppress(ApiServerError):
        create_namespace(cluster, "osm-system", **RESTRICTED)
    specs = [manifest["spec"]["template"]["spec"] for manifest in objects(values) if manifest["kind"] == "Deployment"]
    specs.append(rendered(values)["tests/probes"][0]["spec"])
    assert len(specs) == 3
    for spec in specs:
        create_pod(cluster, "osm-system", spec, query="?dryRun=All")
    unrestricted = {**specs[0], "securityContext": {}}
    with pytest.raises(ApiServerError, match='violates PodSecurity "restricted'):
        create_pod(cluster, "osm-system", unrestricted, query="?dryRun=All")


def test_an_upgrade_keeps_the_ca_bundle_that_the_injector_wrote(helm: Helm, cluster: ApiServer) -> None:
    with installed(helm, cluster, {}) as release:
        assert "caBundle" not in release.get("webhook")["webhooks"][0]["clientConfig"]
        change = [{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": BUNDLE}]
        cluster.request("PATCH", release.path("webhook"), change, content_type="application/json-patch+json")
        release.upgrade({"webhook": {"timeoutSeconds": 7, "excludedNamespaces": ["backup"]}})
        (webhook,) = release.get("webhook")["webhooks"]
        assert (webhook["timeoutSeconds"], webhook["clientConfig"]["caBundle"]) == (7, BUNDLE)


def test_an_upgrade_keeps_settings_made_with_kubectl_and_applies_the_values(helm: Helm, cluster: ApiServer) -> None:
    with installed(helm, cluster, {"meshConfig": {"traffic": {"enableEgress": True}}}) as release:
        assert release.settings == {"traffic": {"enableEgress": True}}
        traffic = {"enablePermissiveTrafficPolicyMode": False}
        change = {"spec": {"observability": {"osmLogLevel": "debug"}, "traffic": traffic}}
        cluster.request("PATCH", release.path("settings"), change, content_type="application/merge-patch+json")
        release.upgrade({"meshConfig": {"traffic": {"enableEgress": False}}})
        expected_traffic = {"traffic": {"enableEgress": False, "enablePermissiveTrafficPolicyMode": False}}
        assert release.settings == expected_traffic | {"observability": {"osmLogLevel": "debug"}}


@pytest.mark.parametrize("fewer", [{}, {"traffic": {}}, {"sidecar": {"logLevel": "debug"}}])
def test_a_setting_that_was_removed_from_the_values_is_removed_by_an_upgrade(
    helm: Helm, cluster: ApiServer, fewer: Values
) -> None:
    with installed(helm, cluster, {"meshConfig": {"traffic": {"enableEgress": True}}}) as release:
        release.upgrade({"meshConfig": fewer})
        assert release.settings == {name: fields for name, fields in fewer.items() if fields}


def test_an_upgrade_can_change_every_value(helm: Helm, cluster: ApiServer) -> None:
    with installed(helm, cluster, {}) as release:
        for values in INSTALLABLE.values():
            release.helm.upgrade("osm", release.name, {"meshName": release.name, **values})


def test_a_pod_can_be_created_immediately_after_an_uninstallation(helm: Helm, cluster: ApiServer) -> None:
    with installed(helm, cluster, QUICK) as release:
        shop = f"shop-of-{release.name}"
        create_namespace(cluster, shop, **{"openservicemesh.io/monitored-by": release.name})
        # There is no injector in this cluster, so the API server refuses pods that match the webhook.
        until_refused(cluster, shop)
        release.helm.uninstall("osm", release.name)
        create_pod(cluster, shop, PLAIN)


def until_refused(cluster: ApiServer, namespace: str) -> None:
    """Wait until the API server uses the webhook configuration."""
    for _ in range(100):
        try:
            create_pod(cluster, namespace, PLAIN, query="?dryRun=All")
        except ApiServerError as error:
            if "osm-inject.k8s.io" in str(error):
                return
            raise
    raise AssertionError("the API server does not call the webhook")


def test_an_uninstallation_deletes_the_webhook_configuration_before_the_injector(
    helm: Helm, cluster: ApiServer
) -> None:
    with installed(helm, cluster, {}) as release:
        webhooks, _, _ = release.path("webhook").rpartition("/")
        paths = (
            webhooks,
            f"/api/v1/namespaces/{release.name}/services",
            f"/apis/apps/v1/namespaces/{release.name}/deployments",
        )
        since = cluster.request("GET", webhooks)["metadata"]["resourceVersion"]
        release.helm.uninstall("osm", release.name)
        deletions = [
            [int(change["object"]["metadata"]["resourceVersion"]) for change in changes if change["type"] == "DELETED"]
            for changes in (cluster.watch_events(path, since=since) for path in paths)
        ]
        assert all(deletions)
        assert max(deletions[0]) < min(*deletions[1], *deletions[2])


def test_pods_in_excluded_namespaces_can_be_created_without_an_injector(cluster: ApiServer) -> None:
    values = {"webhook": {"timeoutSeconds": 1, "excludedNamespaces": ["backup"]}}
    with installed(Helm4(cluster), cluster, values) as release:
        labels = {"openservicemesh.io/monitored-by": release.name}
        create_namespace(cluster, f"shop-of-{release.name}", **labels)
        until_refused(cluster, f"shop-of-{release.name}")
        create_namespace(cluster, "backup", **labels)
        for namespace in ("kube-system", release.name):
            patch = {"metadata": {"labels": labels}}
            cluster.request(
                "PATCH", f"/api/v1/namespaces/{namespace}", patch, content_type="application/merge-patch+json"
            )
        (deployment, *_) = (manifest for manifest in objects(values) if manifest["kind"] == "Deployment")
        for namespace in ("kube-system", "backup", release.name):
            create_pod(cluster, namespace, deployment["spec"]["template"]["spec"], query="?dryRun=All")


def test_an_uninstallation_leaves_only_the_crds(helm: Helm, cluster: ApiServer) -> None:
    everything = {**MATRIX["scaled"], **MATRIX["guarded"]}
    with installed(helm, cluster, everything) as release:
        manifests = [
            json.loads(json.dumps(manifest).replace("osm-system", release.name)) for manifest in objects(everything)
        ]
        paths = [f"{path_of(manifest)}/{manifest['metadata']['name']}" for manifest in manifests]
        paths = [path.replace("osm-webhook-osm", f"osm-webhook-{release.name}") for path in paths]
        for path in paths:
            cluster.request("GET", path)
        release.helm.uninstall("osm", release.name)
        for path in paths:
            with pytest.raises(ApiServerError) as error:
                cluster.request("GET", path)
            assert error.value.status == 404
        cluster.request(
            "GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/meshconfigs.config.openservicemesh.io"
        )


def test_two_meshes_can_be_installed_side_by_side_unless_they_have_the_same_name(
    helm: Helm, cluster: ApiServer
) -> None:
    with installed(helm, cluster, {}) as first, installed(helm, cluster, {}) as second:
        assert first.get("webhook")["metadata"]["uid"] != second.get("webhook")["metadata"]["uid"]
        third = f"{first.name}-again"
        create_namespace(cluster, third)
        with pytest.raises(HelmError, match=f"osm-webhook-{first.name}"):
            helm.install("osm", third, {"meshName": first.name})
        with contextlib.suppress(HelmError):
            helm.uninstall("osm", third)
        assert first.get("webhook")["webhooks"]
