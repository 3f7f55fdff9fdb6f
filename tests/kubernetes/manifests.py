"""The project's own manifests -> documents for the API server."""

from pathlib import Path
from typing import Any, Final

import yaml

from tests.chart.render import rendered
from tests.kubernetes.apiserver import ApiServer, path_of

ROOT: Final = Path(__file__).parents[2]
CRDS: Final = ROOT / "charts" / "osm" / "crds"
BOOKSTORE: Final = ROOT / "examples" / "bookstore"


def documents(folder: Path) -> list[dict[str, Any]]:
    """All manifests of a folder."""
    files = sorted(folder.glob("*.yaml"))
    return [each for file in files for each in yaml.safe_load_all(file.read_text()) if each]


def install_crds(server: ApiServer) -> None:
    """The kinds of objects that the chart brings; returns when they are served."""
    for each in documents(CRDS):
        server.create(each)
    for each in documents(CRDS):
        spec = each["spec"]
        for version in spec["versions"]:
            path = f"/apis/{spec['group']}/{version['name']}/{spec['names']['plural']}"
            server.eventually("GET", path)


def permissions(program: str) -> list[dict[str, Any]]:
    """What the chart lets a program do."""
    return template(f"{program}-rbac")


def template(name: str) -> list[dict[str, Any]]:
    """What Helm makes of a template of the chart, in the namespace osm-system."""
    return rendered()[name]


def install(server: ApiServer, manifests: list[dict[str, Any]]) -> None:
    """Create objects, namespaces first; a status, which only a kubelet reports, is reported."""
    for each in sorted(manifests, key=lambda each: each["kind"] != "Namespace"):
        server.create(each)
        if "status" in each:
            path = f"{path_of(each)}/{each['metadata']['name']}/status"
            server.request("PATCH", path, {"status": each["status"]}, form="application/merge-patch+json")
