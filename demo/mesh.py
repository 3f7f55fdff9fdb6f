"""examples/bookstore -> a copy that can be edited while osm-controller watches it."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml

from demo.errors import DemoError

EXAMPLE: Final = Path(__file__).parent.parent / "examples" / "bookstore"
_SERVICE_NAME: Final = "kubernetes.io/service-name"
Json = dict[str, Any]


class MeshFolder:
    """A folder of manifests. Files are replaced atomically, so osm-controller never reads a partial file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        shutil.copytree(EXAMPLE, path)

    def add_endpoint(self, service: str, *, address: str) -> None:
        """Add an address to the endpoints of a service."""
        self._edit(lambda document: _add_address(document, service=service, address=address))

    def set_certificate_validity(self, validity: str) -> None:
        """Set how long the proxies' certificates are valid, in MeshConfig's format: "20s"."""
        self._edit(lambda document: _set_validity(document, validity=validity))

    def set_permissive(self, *, on: bool) -> None:
        """Switch permissive mode: on permits all calls, off permits only the calls that SMI policies allow."""
        self._edit(lambda document: _set_permissive(document, on=on))

    def put(self, file: str, *documents: Json) -> None:
        """Write a file of manifests, replacing its contents."""
        _replace(self.path / file, list(documents))

    def remove(self, file: str) -> None:
        """Delete a file of manifests if it exists."""
        (self.path / file).unlink(missing_ok=True)

    def add_service(self, name: str, *, like: str, address: str, protocol: str) -> None:
        """Add a service with the pods of the service `like`, the cluster IP `address` and the application protocol."""
        documents = [document for file in self._files() for document in _documents(file)]
        service, endpoints = (copy.deepcopy(document) for document in documents if _belongs_to(document, service=like))
        service["metadata"]["name"], endpoints["metadata"]["name"] = name, f"{name}-1"
        endpoints["metadata"]["labels"][_SERVICE_NAME] = name
        service["spec"]["clusterIP"] = address
        for port in service["spec"]["ports"]:
            port["appProtocol"] = protocol
        _replace(self.path / f"{name}.yaml", [service, endpoints])

    def _files(self) -> list[Path]:
        return sorted(self.path.rglob("*.yaml"))

    def _edit(self, change: Callable[[Json], bool]) -> None:
        """Apply `change` to every manifest; it returns whether it changed one. Raises DemoError if none was changed."""
        changed = False
        for file in self._files():
            documents = _documents(file)
            if sum(change(document) for document in documents):
                _replace(file, documents)
                changed = True
        if not changed:
            raise DemoError(f"{self.path}: found no manifest to edit")


def _documents(file: Path) -> list[Json]:
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


def _replace(file: Path, documents: list[Json]) -> None:
    new = file.with_name(f".{file.name}.new")
    new.write_text(yaml.safe_dump_all(documents))
    new.replace(file)


def _belongs_to(document: Json, *, service: str) -> bool:
    """Whether the document is this Service or an EndpointSlice of it."""
    match document:
        case {"kind": "Service", "metadata": {"name": name}}:
            return bool(name == service)
        case {"kind": "EndpointSlice", "metadata": {"labels": {"kubernetes.io/service-name": name}}}:
            return bool(name == service)
    return False


def _add_address(document: Json, *, service: str, address: str) -> bool:
    if document["kind"] != "EndpointSlice" or not _belongs_to(document, service=service):
        return False
    document["endpoints"].append({"addresses": [address], "conditions": {"ready": True}})
    return True


def _set_permissive(document: Json, *, on: bool) -> bool:
    if document.get("kind") != "MeshConfig":
        return False
    document.setdefault("spec", {}).setdefault("traffic", {})["enablePermissiveTrafficPolicyMode"] = on
    return True


def _set_validity(document: Json, *, validity: str) -> bool:
    if document.get("kind") != "MeshConfig":
        return False
    document.setdefault("spec", {}).setdefault("certificate", {})["serviceCertValidityDuration"] = validity
    return True
