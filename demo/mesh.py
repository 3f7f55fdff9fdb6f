"""examples/bookstore -> a copy that can be edited while osm-controller watches it."""

import copy
import enum
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml

from demo.errors import DemoError

EXAMPLE: Final = Path(__file__).parent.parent / "examples" / "bookstore"
_SERVICE_NAME: Final = "kubernetes.io/service-name"
Json = dict[str, Any]


class IpFamilies(enum.Enum):
    """The address families of pods and services, the primary one first."""

    IPV4 = (4,)
    DUAL_STACK = (4, 6)
    IPV6 = (6,)


def to_ipv6(address: str) -> str:
    """The IPv6 address that the demo uses for this IPv4 address: 10.42.0.12 -> fd00:42::12."""
    _, network, _, host = address.split(".")
    return f"fd00:{network}::{host}"


class MeshFolder:
    """A folder of manifests. Files are replaced atomically, so osm-controller never reads a partial file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        shutil.copytree(EXAMPLE, path)

    def add_endpoint(self, service: str, *, address: str) -> None:
        """Add an address to the endpoints of a service."""
        self._edit(lambda document: _add_address(document, service=service, address=address))

    def set_ip_families(self, families: IpFamilies) -> None:
        """Give all services and pods addresses of these families instead of IPv4."""
        for file in self._files():
            changed = (_with_ip_families(document, families.value) for document in _documents(file))
            _replace(file, [document for documents in changed for document in documents])

    def set_certificate_validity(self, validity: str) -> None:
        """Set how long the proxies' certificates are valid, in MeshConfig's format: "20s"."""
        self._edit(lambda document: _set_validity(document, validity=validity))

    def set_permissive(self, *, on: bool) -> None:
        """Switch permissive mode: on permits all calls, off permits only the calls that SMI policies allow."""
        self._edit(lambda document: _set_traffic(document, "enablePermissiveTrafficPolicyMode", on=on))

    def set_egress(self, *, on: bool) -> None:
        """Switch egress: on forwards connections to addresses outside of the mesh."""
        self._edit(lambda document: _set_traffic(document, "enableEgress", on=on))

    def put(self, file: str, *documents: Json) -> None:
        """Write a file of manifests, replacing its contents."""
        _replace(self.path / file, list(documents))

    def remove(self, file: str) -> None:
        """Delete a file of manifests if it exists."""
        (self.path / file).unlink(missing_ok=True)

    def add_service(self, name: str, *, like: str, address: str, protocol: str) -> None:
        """Add a service with the pods of the service `like`, this cluster IP ("None": headless) and this protocol."""
        documents = [document for file in self._files() for document in _documents(file)]
        copied = [copy.deepcopy(document) for document in documents if _belongs_to(document, service=like)]
        (service,) = (document for document in copied if document["kind"] == "Service")
        slices = [document for document in copied if document["kind"] == "EndpointSlice"]
        service["metadata"]["name"] = name
        for number, endpoints in enumerate(slices, start=1):
            endpoints["metadata"]["name"] = f"{name}-{number}"
            endpoints["metadata"]["labels"][_SERVICE_NAME] = name
        service["spec"] |= {"clusterIP": address, "clusterIPs": [address]}
        for port in service["spec"]["ports"]:
            port["appProtocol"] = protocol
        _replace(self.path / f"{name}.yaml", [service, *slices])

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


def _with_ip_families(document: Json, families: tuple[int, ...]) -> list[Json]:
    """The document with addresses of these families; an EndpointSlice becomes one for each family."""

    def addresses(ipv4: str) -> list[str]:
        return [ipv4 if family == 4 else to_ipv6(ipv4) for family in families]

    match document:
        case {"kind": "Service", "spec": {"clusterIP": address} as spec}:
            spec["clusterIPs"] = addresses(address)
            spec["clusterIP"] = spec["clusterIPs"][0]
        case {"kind": "Pod", "status": {"podIP": address} as status}:
            status["podIPs"] = [{"ip": ip} for ip in addresses(address)]
            status["podIP"] = status["podIPs"][0]["ip"]
        case {"kind": "EndpointSlice"}:
            return [_slice_of_family(document, family) for family in families]
    return [document]


def _slice_of_family(document: Json, family: int) -> Json:
    if family == 4:
        return document
    result = copy.deepcopy(document)
    result["metadata"]["name"] += "-ipv6"
    result["addressType"] = "IPv6"
    for endpoint in result["endpoints"]:
        endpoint["addresses"] = [to_ipv6(address) for address in endpoint["addresses"]]
    return result


def _add_address(document: Json, *, service: str, address: str) -> bool:
    if document["kind"] != "EndpointSlice" or not _belongs_to(document, service=service):
        return False
    document["endpoints"].append({"addresses": [address], "conditions": {"ready": True}})
    return True


def _set_traffic(document: Json, setting: str, *, on: bool) -> bool:
    if document.get("kind") != "MeshConfig":
        return False
    document.setdefault("spec", {}).setdefault("traffic", {})[setting] = on
    return True


def _set_validity(document: Json, *, validity: str) -> bool:
    if document.get("kind") != "MeshConfig":
        return False
    document.setdefault("spec", {}).setdefault("certificate", {})["serviceCertValidityDuration"] = validity
    return True
