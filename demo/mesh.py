"""examples/bookstore -> a copy that may be edited while the controller watches it."""

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
    """A folder of manifests. An edited file is replaced whole, so that no half of it is ever read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        shutil.copytree(EXAMPLE, path)

    def add_endpoint(self, service: str, *, address: str) -> None:
        """Let one more address answer for a service."""
        self._edit(lambda document: _add_address(document, service=service, address=address))

    def set_certificate_validity(self, validity: str) -> None:
        """Set how long the certificates of proxies are valid, as in MeshConfig: "20s"."""
        self._edit(lambda document: _set_validity(document, validity=validity))

    def set_permissive(self, *, on: bool) -> None:
        """Let everybody call everything, or only what policies permit."""
        self._edit(lambda document: _set_permissive(document, on=on))

    def put(self, file: str, *documents: Json) -> None:
        """Write a file of manifests, in the place of what it had."""
        _replace(self.path / file, list(documents))

    def remove(self, file: str) -> None:
        """Take a file of manifests away, if it is there."""
        (self.path / file).unlink(missing_ok=True)

    def add_service(self, name: str, *, like: str, address: str, protocol: str) -> None:
        """Let the pods of a service answer for one more, which speaks `protocol` and has this cluster IP."""
        known = [each for file in self._files() for each in _documents(file)]
        service, endpoints = (copy.deepcopy(each) for each in known if _belongs_to(each, service=like))
        service["metadata"]["name"], endpoints["metadata"]["name"] = name, f"{name}-1"
        endpoints["metadata"]["labels"][_SERVICE_NAME] = name
        service["spec"]["clusterIP"] = address
        for port in service["spec"]["ports"]:
            port["appProtocol"] = protocol
        _replace(self.path / f"{name}.yaml", [service, endpoints])

    def _files(self) -> list[Path]:
        return sorted(self.path.rglob("*.yaml"))

    def _edit(self, change: Callable[[Json], bool]) -> None:
        """Apply `change` to every manifest; it says whether it changed one. Raises DemoError if none."""
        changed = False
        for file in self._files():
            documents = _documents(file)
            if sum(change(each) for each in documents):
                _replace(file, documents)
                changed = True
        if not changed:
            raise DemoError(f"{self.path}: there is no manifest to edit")


def _documents(file: Path) -> list[Json]:
    return [each for each in yaml.safe_load_all(file.read_text()) if each]


def _replace(file: Path, documents: list[Json]) -> None:
    new = file.with_name(f".{file.name}.new")
    new.write_text(yaml.safe_dump_all(documents))
    new.replace(file)


def _belongs_to(document: Json, *, service: str) -> bool:
    """Whether it is this service, or endpoints of it."""
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
