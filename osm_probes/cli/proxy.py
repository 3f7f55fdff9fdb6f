"""`osm proxy bootstrap`: what a sidecar starts with."""

import argparse
from datetime import timedelta
from typing import Final

from osm_probes.cli.private_file import write_private
from osm_probes.foundation.errors import OsmError
from osm_probes.mesh.identity import SIDECAR, ProxyName
from osm_probes.mesh.mesh import Mesh, Proxy
from osm_probes.mesh.ports import ADS_PORT
from osm_probes.pki.ca_folder import load_authority
from osm_probes.sources.folder_source import read_mesh
from osm_probes.xds.bootstrap import AdsMode, AdsTarget, bootstrap
from osm_probes.xds.names import controller_name
from osm_probes.xds.secrets import Secrets

# A bootstrap is not renewed while its Envoy runs; the ADS lets a proxy in only as long as its pod exists.
_VALIDITY: Final = timedelta(days=3650)
_NAMESPACE: Final = "osm-system"


class UnknownPodError(OsmError):
    """The mesh has no such sidecar; the text says which ones there are."""


class AddressError(OsmError):
    """Not HOST:PORT."""


def print_bootstrap(given: argparse.Namespace) -> int:
    """Print the bootstrap of one pod's sidecar, as JSON, or write it to --output."""
    mesh = read_mesh(given.mesh_dir, mesh_name=given.mesh_name)
    proxy = _proxy(mesh, given.pod)
    authority = load_authority(given.ca_dir)
    name = ProxyName(proxy.uuid, SIDECAR, proxy.identity)
    certificate = authority.issue(name.common_name(given.trust_domain), validity=_VALIDITY)
    content = bootstrap(
        name,
        trust_domain=given.trust_domain,
        ads=_target(given),
        secrets=Secrets(certificate.chain_pem, certificate.key_pem, authority.root_pem),
    )
    if given.output is None:
        print(content.decode(), flush=True)
    else:
        write_private(given.output, content)
    return 0


def _proxy(mesh: Mesh, pod: str) -> Proxy:
    """The sidecar of `NAME` or `NAMESPACE/NAME`."""
    namespace, _, name = pod.rpartition("/")
    found = [proxy for proxy in mesh.proxies.values() if proxy.pod == name and namespace in ("", proxy.namespace)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(sorted(f"{proxy.namespace}/{proxy.pod}" for proxy in mesh.proxies.values())) or "none"
    problem = "names several pods" if found else "is no pod of the mesh with the label osm-proxy-uuid"
    raise UnknownPodError(f"{pod} {problem}; there are: {known}")


def _target(given: argparse.Namespace) -> AdsTarget:
    server_name = controller_name(given.osm_namespace or _NAMESPACE)
    host, _, port = (given.ads_address or f"{server_name}:{ADS_PORT}").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise AddressError(f"--ads-address {given.ads_address!r} is not HOST:PORT")
    mode = AdsMode.INCREMENTAL if given.incremental else AdsMode.STATE_OF_THE_WORLD
    return AdsTarget(host.strip("[]"), int(port), server_name, mode)
