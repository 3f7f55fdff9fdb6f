"""The project's manifests and chart templates -> documents for the API server."""

from pathlib import Path
from typing import Any, Final

import yaml

from tests.chart.render import rendered
from tests.kubernetes.apiserver import ApiServer, path_of
from tests.standin import until

ROOT: Final = Path(__file__).parents[2]
CRDS: Final = ROOT / "charts" / "osm" / "crds"
BOOKSTORE: Final = ROOT / "examples" / "bookstore"


def documents(folder: Path) -> list[dict[str, Any]]:
    """All documents of the manifests in a folder."""
    files = sorted(folder.glob("*.yaml"))
    return [document for file in files for document in yaml.safe_load_all(file.read_text()) if document]


def install_crds(server: ApiServer) -> None:
    """Create the chart's CRDs; returns when the API server serves their kinds."""
    for document in documents(CRDS):
        server.create(document)
    for document in documents(CRDS):
        spec = document["spec"]
        for version in spec["versions"]:
            path = f"/apis/{spec['group']}/{version['name']}/{spec['names']['plural']}"
            server.eventually("GET", path)


def permissions(program: str) -> list[dict[str, Any]]:
    """The RBAC objects that the chart creates for a program."""
    return template(f"{program}-rbac")


def bootstrap_permissions(program: str, *namespaces: str) -> list[dict[str, Any]]:
    """The RBAC objects that let a program write bootstrap Secrets in these namespaces, as the chart creates them."""
    found = rendered({"meshNamespaces": list(namespaces)})["bootstrap-secrets-rbac"]
    return [manifest for manifest in found if manifest["metadata"]["labels"]["app"] == program]


def bind(server: ApiServer, program: str, namespace: str) -> None:
    """Let a program write bootstrap Secrets in a namespace; returns when the API server knows that."""
    for document in bootstrap_permissions(program, namespace):
        if document["kind"] == "RoleBinding":
            server.create(document)
    attributes = {"resource": "secrets", "namespace": namespace}
    attributes["verb"] = "create" if program == "osm-injector" else "list"
    user = f"system:serviceaccount:osm-system:{program}"
    review = {"spec": {"user": user, "resourceAttributes": attributes}}
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    until(lambda: server.request("POST", path, review)["status"]["allowed"], within=15)


def template(name: str) -> list[dict[str, Any]]:
    """A rendered template of the chart, in the namespace osm-system."""
    return rendered()[name]


def install(server: ApiServer, manifests: list[dict[str, Any]]) -> None:
    """Create objects, namespaces first, and set the status that a manifest contains, as a kubelet does."""
    for manifest in sorted(manifests, key=lambda manifest: manifest["kind"] != "Namespace"):
        server.create(manifest)
        if "status" in manifest:
            path = f"{path_of(manifest)}/{manifest['metadata']['name']}/status"
            server.request("PATCH", path, {"status": manifest["status"]}, content_type="application/merge-patch+json")


def allow(
    server: ApiServer, namespace: str, user: str, rules: list[dict[str, Any]], *, only_there: bool = False
) -> None:
    """Grant these rules to a user, in all namespaces or only in this one."""
    metadata = {"name": f"{user}-{namespace}"}
    group = "rbac.authorization.k8s.io"
    server.create({"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": metadata, "rules": rules})
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding" if only_there else "ClusterRoleBinding",
        "metadata": metadata | ({"namespace": namespace} if only_there else {}),
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": metadata["name"]},
        "subjects": [{"kind": "User", "apiGroup": group, "name": user}],
    }
    server.create(binding)
