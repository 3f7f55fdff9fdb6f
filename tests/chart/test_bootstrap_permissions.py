"""The chart's permissions for Secrets: rendered, and in a real cluster with Helm 3 and Helm 4."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.chart.helms import Helm, HelmError
from tests.chart.render import Manifest, objects
from tests.kubernetes.apiserver import ApiServer

PROGRAMS = {"osm-controller": ["list", "watch", "patch", "delete"], "osm-injector": ["create"]}
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
ENROLMENT = "openservicemesh.io/monitored-by"


def rules_about_secrets(manifests: list[Manifest], kind: str) -> dict[str, list[dict[str, Any]]]:
    """By the name of a role, its rules for Secrets."""
    roles = [manifest for manifest in manifests if manifest["kind"] == kind]
    found = {
        role["metadata"]["name"]: [rule for rule in role["rules"] if "secrets" in rule["resources"]] for role in roles
    }
    return {name: rules for name, rules in found.items() if rules}


def bindings(manifests: list[Manifest], kind: str) -> set[tuple[str, str, str]]:
    """The role, the namespace and the subject of each binding of a role for Secrets."""
    return {
        (found["roleRef"]["name"], found["metadata"].get("namespace", ""), found["subjects"][0]["name"])
        for found in manifests
        if found["kind"] == kind and "bootstrap-secrets" in found["roleRef"]["name"]
    }


@pytest.mark.helm
def test_only_roles_that_are_bound_in_the_meshs_namespaces_permit_anything_about_other_secrets() -> None:
    manifests = objects({"meshNamespaces": ["shop", "bank", "shop", "osm-system"]})
    assert rules_about_secrets(manifests, "ClusterRole") == {
        f"{program}-bootstrap-secrets-osm-system": [{"apiGroups": [""], "resources": ["secrets"], "verbs": verbs}]
        for program, verbs in PROGRAMS.items()
    }
    assert bindings(manifests, "ClusterRoleBinding") == set()
    assert bindings(manifests, "RoleBinding") == {
        (f"{program}-bootstrap-secrets-osm-system", namespace, program)
        for program in PROGRAMS
        for namespace in ("shop", "bank")
    }
    for rules in rules_about_secrets(manifests, "Role").values():
        assert all(rule.get("resourceNames") == ["osm-ca-bundle"] or rule["verbs"] == ["create"] for rule in rules)


@pytest.mark.helm
def test_with_all_namespaces_they_are_bound_in_the_whole_cluster() -> None:
    manifests = objects({"rbac": {"allNamespaces": True}, "meshNamespaces": ["shop"]})
    assert bindings(manifests, "ClusterRoleBinding") == {
        (f"{program}-bootstrap-secrets-osm-system", "", program) for program in PROGRAMS
    }
    assert bindings(manifests, "RoleBinding") == set()


def may(cluster: ApiServer, program: str, verb: str, *, release: str, namespace: str) -> bool:
    """Whether a program may do this with Secrets in a namespace."""
    spec = {
        "user": f"system:serviceaccount:{release}:{program}",
        "groups": ["system:serviceaccounts", "system:authenticated"],
        "resourceAttributes": {"verb": verb, "resource": "secrets", "namespace": namespace},
    }
    return bool(cluster.request("POST", REVIEWS, {"spec": spec})["status"]["allowed"])


def create_namespace(cluster: ApiServer, name: str, mesh: str = "") -> None:
    """Create a namespace, of a mesh if one is given."""
    labels = {ENROLMENT: mesh} if mesh else {}
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})


@pytest.mark.helm
@pytest.mark.helm3
@pytest.mark.kubernetes
def test_an_upgrade_gives_the_permissions_in_namespaces_that_have_joined_the_mesh(
    helm: Helm, cluster: ApiServer
) -> None:
    name = f"rbac-{type(helm).__name__.lower()}"
    values = {"meshName": name}
    create_namespace(cluster, name)
    for joined, mesh in (("old", name), ("listed", ""), ("new", ""), ("foreign", "other"), ("outside", "")):
        create_namespace(cluster, f"{joined}-{name}", mesh)
    with _installed(helm, name, {**values, "meshNamespaces": [f"listed-{name}"]}):
        assert _writable(cluster, name) == {"old", "listed"}
        # As `osm namespace add` does, whose binding Helm must neither take over nor reject.
        role = f"osm-injector-bootstrap-secrets-{name}"
        group = "rbac.authorization.k8s.io"
        cluster.create(
            {
                "apiVersion": f"{group}/v1",
                "kind": "RoleBinding",
                "metadata": {"name": role, "namespace": f"new-{name}"},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            }
        )
        _label(cluster, f"new-{name}", name)
        _label(cluster, f"old-{name}", None)
        helm.upgrade("osm", name, values)
        assert _writable(cluster, name) == {"new"}
        helm.upgrade("osm", name, {**values, "rbac": {"allNamespaces": True}})
        assert _writable(cluster, name) == {"old", "listed", "new", "foreign", "outside"}
    assert _writable(cluster, name) == set()


@contextlib.contextmanager
def _installed(helm: Helm, name: str, values: dict[str, Any]) -> Iterator[None]:
    helm.install("osm", name, values)
    try:
        yield
    finally:
        with contextlib.suppress(HelmError):
            helm.uninstall("osm", name)


def _writable(cluster: ApiServer, release: str) -> set[str]:
    """The namespaces in which both programs have all of their permissions. Elsewhere they have none."""
    found = set()
    for kind in ("old", "listed", "new", "foreign", "outside"):
        granted = {
            may(cluster, program, verb, release=release, namespace=f"{kind}-{release}")
            for program, verbs in PROGRAMS.items()
            for verb in verbs
        }
        assert len(granted) == 1, f"{kind}: some permissions and not others"
        if True in granted:
            found.add(kind)
        assert not may(cluster, "osm-injector", "list", release=release, namespace=f"{kind}-{release}")
    return found


def _label(cluster: ApiServer, namespace: str, mesh: str | None) -> None:
    change = {"metadata": {"labels": {ENROLMENT: mesh}}}
    cluster.request("PATCH", f"/api/v1/namespaces/{namespace}", change, content_type="application/merge-patch+json")
