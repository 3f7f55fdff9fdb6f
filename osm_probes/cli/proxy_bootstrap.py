"""`osm proxy bootstrap`: a pod of a mesh folder -> the bootstrap configuration of its Envoy."""

import argparse
from datetime import timedelta
from typing import Final

from osm_probes.cli.output import write_private_file
from osm_probes.foundation.errors import OsmError
from osm_probes.mesh.identity import SIDECAR, ProxyName
from osm_probes.mesh.mesh import Mesh, Proxy
from osm_probes.mesh.names import DEFAULT_NAMESPACE, controller_server_name
from osm_probes.mesh.ports import ADS_PORT
from osm_probes.pki.ca_folder import load_authority
from osm_probes.sources.folder_source import read_mesh
from osm_probes.xds.bootstrap import AdsMode, AdsTarget, build_bootstrap
from osm_probes.xds.secrets import Secrets

# Nothing renews the certificate of a bootstrap while its Envoy runs. The ADS rejects a proxy whose pod is gone.
_VALIDITY: Final = timedelta(days=3650)


class UnknownPodError(OsmError):
    """The mesh has no such sidecar; the text lists the pods that have one."""


class InvalidAddressError(OsmError):
    """The value of --ads-address is not HOST:PORT."""


def print_bootstrap(arguments: argparse.Namespace) -> int:
    """Print the bootstrap of a pod's sidecar as JSON, or write it to --output."""
    mesh = read_mesh(arguments.mesh_dir, mesh_name=arguments.mesh_name)
    proxy = _find_proxy(mesh, arguments.pod)
    authority = load_authority(arguments.ca_dir)
    name = ProxyName(proxy.uuid, SIDECAR, proxy.identity)
    certificate = authority.issue(name.common_name(arguments.trust_domain), validity=_VALIDITY)
    content = build_bootstrap(
        name,
        trust_domain=arguments.trust_domain,
        ads=_ads_target(arguments),
        secrets=Secrets(certificate.chain_pem, certificate.key_pem, authority.root_pem),
    )
    if arguments.output is None:
        print(content.decode(), flush=True)
    else:
        write_private_file(arguments.output, content)
    return 0


def _find_proxy(mesh: Mesh, pod: str) -> Proxy:
    """The sidecar of `NAME` or `NAMESPACE/NAME`. Raises UnknownPodError."""
    namespace, _, name = pod.rpartition("/")
    matching = [proxy for proxy in mesh.proxies.values() if proxy.pod == name and namespace in ("", proxy.namespace)]
    if len(matching) == 1:
        return matching[0]
    known = ", ".join(sorted(f"{proxy.namespace}/{proxy.pod}" for proxy in mesh.proxies.values())) or "none"
    problem = "is the name of several pods" if matching else "is not a pod of the mesh with the label osm-proxy-uuid"
    raise UnknownPodError(f"{pod} {problem}; pods with a sidecar: {known}")


def _ads_target(arguments: argparse.Namespace) -> AdsTarget:
    server_name = controller_server_name(arguments.osm_namespace or DEFAULT_NAMESPACE)
    host, _, port = (arguments.ads_address or f"{server_name}:{ADS_PORT}").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidAddressError(f"--ads-address {arguments.ads_address!r} is not HOST:PORT")
    mode = AdsMode.INCREMENTAL if arguments.incremental else AdsMode.STATE_OF_THE_WORLD
    return AdsTarget(host.strip("[]"), int(port), server_name, mode)
