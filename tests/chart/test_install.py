"""The chart in a real cluster: installed, upgraded, uninstalled by both Helms."""

import contextlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.chart.helms import Helm, Helm3, Helm4, HelmError
from tests.chart.render import MATRIX, Manifest, Values, objects, rendered
from tests.kubernetes.apiserver import ApiServer, ApiServerError, path_of, running_api_server

pytestmark = [pytest.mark.helm, pytest.mark.helm3, pytest.mark.kubernetes]
# Another field manager writes it, as osm-injector does.
BUNDLE = "b3VycyBhbG9uZQ=="
QUICK: Values = {"webhook": {"timeoutSeconds": 1}}
RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}
# There is no Prometheus operator.
INSTALLABLE = {name: values for name, values in MATRIX.items() if name != "watched"}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A cluster where the chart has never been."""
    with running_api_server(tmp_path_factory.mktemp("kubernetes")) as server:
        yield server


@pytest.fixture(params=["3", "4"])
def helm(request: pytest.FixtureRequest, cluster: ApiServer, tmp_path: Path) -> Helm:
    """Helm of both versions."""
    return Helm3(cluster, tmp_path) if request.param == "3" else Helm4(cluster)


@dataclass(frozen=True)
class Release:
    """An installed chart. Mesh and namespace are its own; the namespace enforces "restricted"."""

    helm: Helm
    cluster: ApiServer
    name: str
    values: Values

    def upgrade(self, values: Values) -> None:
        """Upgrade to these values."""
        self.helm.upgrade("osm", self.name, {**values, "meshName": self.name})

    def path(self, kind: str) -> str:
        """Where its one object of this kind is."""
        group = {"webhook": "admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/osm-webhook-"}
        if kind in group:
            return f"/apis/{group[kind]}{self.name}"
        return f"/apis/config.openservicemesh.io/v1alpha2/namespaces/{self.name}/meshconfigs/osm-mesh-config"

    def get(self, kind: str) -> Manifest:
        """That object."""
        return self.cluster.request("GET", self.path(kind))

    @property
    def settings(self) -> Values:
        """What the MeshConfig says, empty sections left out."""
        return {name: fields for name, fields in self.get("settings")["spec"].items() if fields}


@contextlib.contextmanager
def installed(helm: Helm, cluster: ApiServer, values: Values) -> Iterator[Release]:
    """A release of its own; what is left of it in the end is uninstalled."""
    name = f"osm-{next(_numbers)}"
    create_namespace(cluster, name, **RESTRICTED)
    helm.install("osm", name, {**values, "meshName": name})
    try:
        yield Release(helm, cluster, name, values)
    finally:
        with contextlib.suppress(HelmError):
            helm.uninstall("osm", name)


def create_namespace(cluster: ApiServer, name: str, **labels: str) -> None:
    """A namespace with these labels."""
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})


def create_pod(cluster: ApiServer, namespace: str, spec: dict[str, Any], *, query: str = "") -> None:
    """A pod. Raises ApiServerError."""
    body = {"metadata": {"generateName": "pod-"}, "spec": spec}
    cluster.request("POST", f"/api/v1/namespaces/{namespace}/pods{query}", body)


PLAIN = {"containers": [{"name": "app", "image": "app"}]}


@pytest.mark.parametrize("values", INSTALLABLE.values(), ids=INSTALLABLE)
def test_the_api_server_knows_each_field(cluster: ApiServer, values: Values) -> None:
    with contextlib.suppress(ApiServerError):
        create_namespace(cluster, "osm-system", **RESTRICTED)
    with installed(Helm4(cluster), cluster, {}):  # brings the kinds
        for each in [*objects(values), *rendered(values)["tests/probes"]]:
            cluster.request("POST", f"{path_of(each)}?dryRun=All&fieldValidation=Strict", each)


def test_a_field_that_it_does_not_know_is_found(cluster: ApiServer) -> None:
    with contextlib.suppress(ApiServerError):
        create_namespace(cluster, "osm-system", **RESTRICTED)
    (wrong,) = rendered()["osm-controller-service"]
    wrong["spec"]["portz"] = []
    with pytest.raises(ApiServerError, match="unknown field"):
        cluster.request("POST", f"{path_of(wrong)}?dryRun=All&fieldValidation=Strict", wrong)


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_pods_of_the_control_plane_are_let_into_a_restricted_namespace(cluster: ApiServer, values: Values) -> None:
    with contextlib.suppress(ApiServerError):
        create_namespace(cluster, "osm-system", **RESTRICTED)
    specs = [each["spec"]["template"]["spec"] for each in objects(values) if each["kind"] == "Deployment"]
    specs.append(rendered(values)["tests/probes"][0]["spec"])
    assert len(specs) == 3
    for spec in specs:
        create_pod(cluster, "osm-system", spec, query="?dryRun=All")
    loose = {**specs[0], "securityContext": {}}
    with pytest.raises(ApiServerError, match='violates PodSecurity "restricted'):
        create_pod(cluster, "osm-system", loose, query="?dryRun=All")


def test_an_upgrade_keeps_the_bundle_that_the_injector_wrote(helm: Helm, cluster: ApiServer) -> None:
    with installed(helm, cluster, {}) as release:
        assert "caBundle" not in release.get("webhook")["webhooks"][0]["clientConfig"]
        change = [{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": BUNDLE}]
        cluster.request("PATCH", release.path("webhook"), change, form="application/json-patch+json")
        release.upgrade({"webhook": {"timeoutSeconds": 7, "excludedNamespaces": ["backup"]}})
        (webhook,) = release.get("webhook")["webhooks"]
        assert (webhook["timeoutSeconds"], webhook["clientConfig"]["caBundle"]) == (7, BUNDLE)


def test_an_upgrade_keeps_settings_made_with_kubectl_and_applies_those_of_the_values(
    helm: Helm, cluster: ApiServer
) -> None:
    with installed(helm, cluster, {"meshConfig": {"traffic": {"enableEgress": True}}}) as release:
        assert release.settings == {"traffic": {"enableEgress": True}}
        traffic = {"enablePermissiveTrafficPolicyMode": False}
        mine = {"spec": {"observability": {"osmLogLevel": "debug"}, "traffic": traffic}}
        cluster.request("PATCH", release.path("settings"), mine, form="application/merge-patch+json")
        release.upgrade({"meshConfig": {"traffic": {"enableEgress": False}}})
        kept = {"traffic": {"enableEgress": False, "enablePermissiveTrafficPolicyMode": False}}
        assert release.settings == kept | {"observability": {"osmLogLevel": "debug"}}


@pytest.mark.parametrize("fewer", [{}, {"traffic": {}}, {"sidecar": {"logLevel": "debug"}}])
def test_a_setting_that_the_values_name_no_longer_is_not_set_any_more(
    helm: Helm, cluster: ApiServer, fewer: Values
) -> None:
    with installed(helm, cluster, {"meshConfig": {"traffic": {"enableEgress": True}}}) as release:
        release.upgrade({"meshConfig": fewer})
        assert release.settings == {name: fields for name, fields in fewer.items() if fields}


def test_an_upgrade_may_change_all_that_the_values_can_say(helm: Helm, cluster: ApiServer) -> None:
    with installed(helm, cluster, {}) as release:
        for values in INSTALLABLE.values():
            release.helm.upgrade("osm", release.name, {"meshName": release.name, **values})


def test_a_pod_can_be_created_as_soon_as_it_is_uninstalled(helm: Helm, cluster: ApiServer) -> None:
    with installed(helm, cluster, QUICK) as release:
        shop = f"shop-of-{release.name}"
        create_namespace(cluster, shop, **{"openservicemesh.io/monitored-by": release.name})
        # There is no injector here: what the webhook is asked about is refused.
        until_refused(cluster, shop)
        release.helm.uninstall("osm", release.name)
        create_pod(cluster, shop, PLAIN)


def until_refused(cluster: ApiServer, namespace: str) -> None:
    """Wait until the API server has heard of the webhook."""
    for _ in range(100):
        try:
            create_pod(cluster, namespace, PLAIN, query="?dryRun=All")
        except ApiServerError as error:
            if "osm-inject.k8s.io" in str(error):
                return
            raise
    raise AssertionError("the webhook is never asked")


def test_the_webhook_is_gone_before_what_answers_it(helm: Helm, cluster: ApiServer) -> None:
    with installed(helm, cluster, {}) as release:
        webhooks, _, _ = release.path("webhook").rpartition("/")
        places = (
            webhooks,
            f"/api/v1/namespaces/{release.name}/services",
            f"/apis/apps/v1/namespaces/{release.name}/deployments",
        )
        since = cluster.request("GET", webhooks)["metadata"]["resourceVersion"]
        release.helm.uninstall("osm", release.name)
        gone = [
            [int(each["object"]["metadata"]["resourceVersion"]) for each in changes if each["type"] == "DELETED"]
            for changes in (cluster.changes(place, since=since) for place in places)
        ]
        assert all(gone)
        assert max(gone[0]) < min(*gone[1], *gone[2])


def test_the_control_plane_and_kubernetes_can_start_while_there_is_no_injector(cluster: ApiServer) -> None:
    values = {"webhook": {"timeoutSeconds": 1, "excludedNamespaces": ["backup"]}}
    with installed(Helm4(cluster), cluster, values) as release:
        labels = {"openservicemesh.io/monitored-by": release.name}
        create_namespace(cluster, f"shop-of-{release.name}", **labels)
        until_refused(cluster, f"shop-of-{release.name}")
        create_namespace(cluster, "backup", **labels)
        for namespace in ("kube-system", release.name):
            patch = {"metadata": {"labels": labels}}
            cluster.request("PATCH", f"/api/v1/namespaces/{namespace}", patch, form="application/merge-patch+json")
        (deployment, *_) = (each for each in objects(values) if each["kind"] == "Deployment")
        for namespace in ("kube-system", "backup", release.name):
            create_pod(cluster, namespace, deployment["spec"]["template"]["spec"], query="?dryRun=All")


def test_nothing_of_a_release_is_left_but_its_kinds(helm: Helm, cluster: ApiServer) -> None:
    everything = {**MATRIX["scaled"], **MATRIX["guarded"]}
    with installed(helm, cluster, everything) as release:
        mine = [json.loads(json.dumps(each).replace("osm-system", release.name)) for each in objects(everything)]
        places = [f"{path_of(each)}/{each['metadata']['name']}" for each in mine]
        places = [place.replace("osm-webhook-osm", f"osm-webhook-{release.name}") for place in places]
        for place in places:
            cluster.request("GET", place)
        release.helm.uninstall("osm", release.name)
        for place in places:
            with pytest.raises(ApiServerError) as error:
                cluster.request("GET", place)
            assert error.value.status == 404
        cluster.request(
            "GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/meshconfigs.config.openservicemesh.io"
        )


def test_two_meshes_live_side_by_side_and_two_of_one_name_do_not(helm: Helm, cluster: ApiServer) -> None:
    with installed(helm, cluster, {}) as one, installed(helm, cluster, {}) as other:
        assert one.get("webhook")["metadata"]["uid"] != other.get("webhook")["metadata"]["uid"]
        third = f"{one.name}-again"
        create_namespace(cluster, third)
        with pytest.raises(HelmError, match=f"osm-webhook-{one.name}"):
            helm.install("osm", third, {"meshName": one.name})
        with contextlib.suppress(HelmError):
            helm.uninstall("osm", third)
        assert one.get("webhook")["webhooks"]
