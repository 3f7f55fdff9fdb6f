"""The flags that osm-controller and osm-injector have in common -> SharedConfiguration."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from osm_probes import __version__
from osm_probes.configuration.flag_parser import (
    FlagParser,
    add_boolean_flag,
    add_duration_flag,
    parse_dns_label,
    parse_dns_subdomain,
    parse_folder,
    parse_ip_address,
    parse_port,
    parse_trust_domain,
)
from osm_probes.foundation.logs import LEVELS
from osm_probes.mesh.names import (
    DEFAULT_CA_BUNDLE,
    DEFAULT_MESH_CONFIG,
    DEFAULT_MESH_NAME,
    DEFAULT_NAMESPACE,
    DEFAULT_TRUST_DOMAIN,
)
from osm_probes.mesh.ports import PROBE_PORT

_MESH_DIR_DEFAULTS: Final = {
    "mesh_name": DEFAULT_MESH_NAME,
    "osm_namespace": DEFAULT_NAMESPACE,
    "ca_bundle_secret_name": DEFAULT_CA_BUNDLE,
    "webhook_config_name": "osm-webhook-osm",
}
"""Defaults that apply only with --mesh-dir. In a cluster these flags are required: the chart sets them."""

# Kept back from the grace period for what comes after the drain.
_LAST_STEPS: Final = 2.0

CERTIFICATE_MANAGERS: Final = ("tresor", "vault", "cert-manager")


@dataclass(frozen=True, slots=True)
class SharedConfiguration:
    """The configuration that both programs have in common.

    Durations are in seconds. Port 0 means any free port. `pod` is the name of the program's own pod, empty if unknown.
    """

    verbosity: str
    mesh_name: str
    osm_namespace: str
    osm_config_name: str
    ca_bundle_secret_name: str
    certificate_manager: str
    trust_domain: str
    kubeconfig: str
    mesh_dir: Path | None
    ca_dir: Path
    bind_address: str | None
    http_port: int
    grpc_health_port: int | None
    heartbeat_limit: float
    canary_limit: float
    drain_delay: float
    grace: float
    pod: str
    debug_port: int | None

    @property
    def ca_common_name(self) -> str:
        """The common name of a new certificate authority (CA)."""
        return f"{self.mesh_name}-ca"

    @property
    def drain_within(self) -> float:
        """How long a drain may take, so that the program ends within `grace`."""
        return max(1.0, self.grace - self.drain_delay - _LAST_STEPS)


def add_shared_flags(parser: FlagParser) -> None:
    """Add the flags of SharedConfiguration, and --version."""
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}", help="print the version")
    parser.set_defaults(debug_port=None)  # only osm-controller has the flag
    _add_mesh_flags(parser)
    _add_standalone_flags(parser)
    _add_port_flags(parser)
    _add_probe_flags(parser)
    _add_certificate_flags(parser)
    logs = parser.add_argument_group("logs")
    logs.add_argument(
        "--verbosity",
        "-v",
        choices=list(LEVELS),
        default="info",
        metavar="LEVEL",
        help="lowest level that is logged: %(choices)s; osmLogLevel of the MeshConfig overrides it "
        "(default: %(default)s)",
    )


def required_with_default(key: str) -> str:
    """The end of a help text: the flag is required in a cluster, and has this default with --mesh-dir."""
    return f"(required; with --mesh-dir, default: {_MESH_DIR_DEFAULTS[key]})"


def _add_mesh_flags(parser: FlagParser) -> None:
    mesh = parser.add_argument_group("mesh")
    mesh.add_argument(
        "--mesh-name",
        type=parse_dns_label,
        metavar="NAME",
        help=f"name of the mesh {required_with_default('mesh_name')}",
    )
    mesh.add_argument(
        "--osm-namespace",
        type=parse_dns_label,
        metavar="NAME",
        help=f"namespace of the control plane {required_with_default('osm_namespace')}",
    )
    mesh.add_argument(
        "--osm-config-name",
        type=parse_dns_subdomain,
        metavar="NAME",
        default=DEFAULT_MESH_CONFIG,
        help="name of the MeshConfig (default: %(default)s)",
    )
    mesh.add_argument(
        "--trust-domain",
        type=parse_trust_domain,
        metavar="DOMAIN",
        default=DEFAULT_TRUST_DOMAIN,
        help="trust domain of the proxies' identities (default: %(default)s)",
    )
    mesh.add_argument(
        "--kubeconfig",
        metavar="FILE",
        default="",
        help="kubeconfig of the cluster (default: the pod's service account)",
    )


def _add_standalone_flags(parser: FlagParser) -> None:
    standalone = parser.add_argument_group("without Kubernetes, on one machine")
    standalone.add_argument(
        "--mesh-dir",
        type=parse_folder,
        metavar="DIR",
        help="read the mesh from the Kubernetes manifests in this folder, and follow their changes "
        "(default: read the mesh from the Kubernetes API)",
    )
    standalone.add_argument(
        "--ca-dir",
        type=parse_folder,
        metavar="DIR",
        default=Path("osm-ca"),
        help="with --mesh-dir, folder of the certificate authority (CA), created on the first start "
        "(default: ./%(default)s)",
    )


def _add_port_flags(parser: FlagParser) -> None:
    ports = parser.add_argument_group("addresses and ports", "Port 0 means any free port; the log says which.")
    ports.add_argument(
        "--bind-address",
        type=parse_ip_address,
        metavar="IP",
        help="listen on this address only (default: all addresses, IPv4 and IPv6)",
    )
    ports.add_argument(
        "--http-port",
        type=parse_port,
        default=PROBE_PORT,
        metavar="PORT",
        help="port of the probes and metrics, plain HTTP (default: %(default)s)",
    )
    ports.add_argument(
        "--grpc-health-port",
        type=parse_port,
        metavar="PORT",
        help="port that serves the same probes as grpc.health.v1, plaintext (default: off)",
    )


def _add_probe_flags(parser: FlagParser) -> None:
    probes = parser.add_argument_group(
        "probes and shutdown", "TIME is in seconds (5, 0.5) or has units (500ms, 1m30s)."
    )
    add_duration_flag(
        probes, "--heartbeat-limit", default=15, help_text="not alive after this time without a heartbeat; at least 1s"
    )
    add_duration_flag(
        probes,
        "--canary-limit",
        default=3,
        help_text="not ready if a canary request takes longer than this; at least 100ms",
    )
    add_duration_flag(
        probes,
        "--drain-delay",
        default=5,
        help_text="time between SIGTERM and shutdown: still serving, but not ready; below --grace",
    )
    add_duration_flag(probes, "--grace", default=20, help_text="longest time between SIGTERM and exit")


def _add_certificate_flags(parser: FlagParser) -> None:
    certificates = parser.add_argument_group("certificates")
    certificates.add_argument(
        "--ca-bundle-secret-name",
        type=parse_dns_subdomain,
        metavar="NAME",
        help=f"name of the CA's Secret {required_with_default('ca_bundle_secret_name')}",
    )
    certificates.add_argument(
        "--certificate-manager",
        choices=CERTIFICATE_MANAGERS,
        metavar="NAME",
        default="tresor",
        help="source of certificates; only tresor is supported (default: %(default)s)",
    )


def add_compatibility_flags(parser: FlagParser) -> argparse._ArgumentGroup:
    """Add the flags that upstream's charts pass and that have no effect here. Returns their group."""
    group = parser.add_argument_group(
        "flags of upstream's charts",
        "Upstream's charts can start this program: their flags are accepted, but these\n"
        "and --vault-* and --cert-manager-* have no effect.",
    )
    group.add_argument("--osm-version", metavar="TEXT", default="", help="version of OSM (default: empty)")
    add_boolean_flag(
        group, "--enable-reconciler", default=False, help_text="the CA bundle of the webhook is always reconciled"
    )
    add_boolean_flag(
        group, "--enable-mesh-root-certificate", default=False, help_text="MeshRootCertificates are not supported"
    )
    for flag in (
        *("--vault-protocol", "--vault-host", "--vault-token", "--vault-role", "--vault-port"),
        *("--vault-token-secret-name", "--vault-token-secret-key"),
        *("--cert-manager-issuer-name", "--cert-manager-issuer-kind", "--cert-manager-issuer-group"),
    ):
        group.add_argument(flag, metavar="TEXT", help=argparse.SUPPRESS)
    return group


def read_shared_flags(parser: FlagParser, arguments: argparse.Namespace, *, pod: str) -> SharedConfiguration:
    """Check the shared flags and apply the defaults of --mesh-dir. Raises WrongFlagsError."""
    missing = [key for key in _MESH_DIR_DEFAULTS if hasattr(arguments, key) and getattr(arguments, key) is None]
    if arguments.mesh_dir is None and missing:
        flags = ", ".join("--" + key.replace("_", "-") for key in missing)
        parser.error(f"without --mesh-dir these flags are required: {flags}")
    for key in missing:
        setattr(arguments, key, _MESH_DIR_DEFAULTS[key])
    if arguments.drain_delay >= arguments.grace:
        parser.error(f"--drain-delay {arguments.drain_delay:g} must be below --grace {arguments.grace:g}")
    if arguments.heartbeat_limit < 1 or arguments.canary_limit < 0.1:
        parser.error("--heartbeat-limit must be at least 1s and --canary-limit at least 100ms")
    arguments.pod = pod
    return SharedConfiguration(**{field: getattr(arguments, field) for field in SharedConfiguration.__slots__})
