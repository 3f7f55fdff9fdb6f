"""Configuration: the flags that both programs have, and what must hold among them."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from osm_probes import __version__
from osm_probes.configuration.flags import FlagParser, add_switch, address, domain, folder, label, name, port, seconds
from osm_probes.foundation.logs import LEVELS
from osm_probes.mesh.ports import PROBE_PORT

_STANDALONE: Final = {
    "mesh_name": "osm",
    "osm_namespace": "osm-system",
    "ca_bundle_secret_name": "osm-ca-bundle",
    "webhook_config_name": "osm-webhook-osm",
}
"""With --mesh-dir these have defaults; in a cluster the chart gives them."""

CERTIFICATE_MANAGERS: Final = ("tresor", "vault", "cert-manager")


@dataclass(frozen=True, slots=True)
class Shared:
    """What both programs are told. Durations in seconds; port 0 = any free one; pod: the own one, if known."""

    verbosity: str
    mesh_name: str
    osm_namespace: str
    osm_version: str
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

    @property
    def ca_common_name(self) -> str:
        """The common name of a new certificate authority."""
        return f"{self.mesh_name}-ca"


def add_shared_flags(parser: FlagParser) -> None:
    """Add the flags of `Shared`, and those that are accepted so that upstream's charts can start this program."""
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    mesh = parser.add_argument_group("the mesh")
    mesh.add_argument("--mesh-name", type=label, metavar="NAME", help="name of the mesh (with --mesh-dir: osm)")
    mesh.add_argument(
        "--osm-namespace",
        type=label,
        metavar="NAME",
        help="namespace of the control plane (with --mesh-dir: osm-system)",
    )
    mesh.add_argument("--osm-version", metavar="TEXT", default="", help="version of the mesh, for the logs")
    mesh.add_argument(
        "--osm-config-name",
        type=name,
        metavar="NAME",
        default="osm-mesh-config",
        help="name of the MeshConfig (%(default)s)",
    )
    mesh.add_argument(
        "--trust-domain",
        type=domain,
        metavar="NAME",
        default="cluster.local",
        help="last part of identities (%(default)s)",
    )
    mesh.add_argument(
        "--kubeconfig", metavar="FILE", default="", help="kubeconfig file; in-cluster credentials without it"
    )

    alone = parser.add_argument_group("on one machine, without Kubernetes")
    alone.add_argument(
        "--mesh-dir", type=folder, metavar="DIR", help="folder of Kubernetes manifests: the mesh, watched"
    )
    alone.add_argument(
        "--ca-dir", type=folder, metavar="DIR", default=Path("osm-ca"),
        help="folder of the certificate authority, made on the first start (./%(default)s)",
    )  # fmt: skip

    listen = parser.add_argument_group("listening (port 0: any free one, printed)")
    listen.add_argument("--bind-address", type=address, metavar="IP", help="listen on this address (all)")
    listen.add_argument(
        "--http-port",
        type=port,
        default=PROBE_PORT,
        metavar="PORT",
        help="probes and metrics, plain HTTP (%(default)s)",
    )
    listen.add_argument(
        "--grpc-health-port", type=port, metavar="PORT", help="the same verdicts by grpc.health.v1, plaintext (off)"
    )

    probes = parser.add_argument_group("probes and stopping (seconds, or 500ms, 1m30s)")
    _add_duration(probes, "--heartbeat-limit", 15, "no beat for this long: not alive")
    _add_duration(probes, "--canary-limit", 3, "no answer to the self-made request within this: not ready")
    _add_duration(probes, "--drain-delay", 5, "after SIGTERM go on serving this long, not ready")
    _add_duration(probes, "--grace", 20, "from SIGTERM to the end, at most")

    certificates = parser.add_argument_group("certificates")
    certificates.add_argument(
        "--ca-bundle-secret-name", type=name, metavar="NAME", help="Secret of the certificate authority"
    )
    certificates.add_argument(
        "--certificate-manager",
        choices=CERTIFICATE_MANAGERS,
        metavar="NAME",
        default="tresor",
        help="only tresor is built in (%(default)s)",
    )

    logs = parser.add_argument_group("logs")
    logs.add_argument(
        "--verbosity",
        "-v",
        choices=list(LEVELS),
        default="info",
        metavar="LEVEL",
        help="%(choices)s (%(default)s); the MeshConfig's osmLogLevel wins where it says one",
    )


def add_accepted_flags(parser: FlagParser) -> argparse._ArgumentGroup:
    """Add flags that upstream's charts pass and that decide nothing here; their group, for more of them."""
    accepted = parser.add_argument_group("accepted from upstream's charts, without effect here")
    add_switch(accepted, "--enable-reconciler", default=False, help_text="the webhook's bundle is always kept right")
    add_switch(accepted, "--enable-mesh-root-certificate", default=False, help_text="not supported")
    for flag, default in {
        "--vault-protocol": "http", "--vault-host": "vault.default.svc.cluster.local", "--vault-token": "",
        "--vault-role": "openservicemesh", "--vault-port": "8200", "--vault-token-secret-name": "",
        "--vault-token-secret-key": "", "--cert-manager-issuer-name": "osm-ca", "--cert-manager-issuer-kind": "Issuer",
        "--cert-manager-issuer-group": "cert-manager.io",
    }.items():  # fmt: skip
        accepted.add_argument(flag, default=default, metavar="TEXT", help=argparse.SUPPRESS)
    return accepted


def shared_values(parser: FlagParser, given: argparse.Namespace, *, pod: str) -> Shared:
    """Check what was given and fill in what --mesh-dir gives by default. Ends the process with status 2 on an error."""
    required = [key for key in _STANDALONE if hasattr(given, key) and getattr(given, key) is None]
    if given.mesh_dir is None and required:
        flags = ", ".join("--" + key.replace("_", "-") for key in required)
        parser.error(f"without --mesh-dir these flags are required: {flags}")
    for key in required:
        setattr(given, key, _STANDALONE[key])
    if given.drain_delay >= given.grace:
        parser.error(f"--drain-delay {given.drain_delay:g} must be below --grace {given.grace:g}")
    if given.heartbeat_limit < 1 or given.canary_limit < 0.1:
        parser.error("--heartbeat-limit must be at least 1s and --canary-limit at least 100ms")
    given.pod = pod
    return Shared(**{field: getattr(given, field) for field in Shared.__slots__})


def _add_duration(group: argparse._ArgumentGroup, flag: str, default: float, help_text: str) -> None:
    group.add_argument(flag, type=seconds, default=float(default), metavar="TIME", help=f"{help_text} ({default})")
