"""Arguments of each `osm` command, the function that implements it, and the shell completion made from them.

Only light modules are imported here, so that `osm --help` is fast.
"""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from osm_probes import __version__
from osm_probes.configuration.flag_parser import (
    HelpFormatter,
    parse_dns_label,
    parse_dns_subdomain,
    parse_folder,
    parse_trust_domain,
)
from osm_probes.mesh.names import DEFAULT_MESH_NAME, DEFAULT_TRUST_DOMAIN


class CommandParser(argparse.ArgumentParser):
    """The parser of `osm`, or of one of its commands."""

    def __init__(self, prog: str, *, description: str, epilog: str = "") -> None:
        super().__init__(
            prog, description=description, epilog=epilog, allow_abbrev=False, formatter_class=HelpFormatter
        )


if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[CommandParser]


def build_parser() -> CommandParser:
    """The parser of all commands. It stores the function of the given command in `command`, as `module:function`."""
    parser = CommandParser("osm", description="Manage and check the meshes of a cluster.")
    parser.add_argument("--version", action="version", version=f"osm {__version__}", help="print the version")
    defaults = {"kubeconfig": "", "context": "", "osm_namespace": os.environ.get("OSM_NAMESPACE", "")}
    _add_cluster_arguments(parser, defaults=defaults)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_mesh(commands)
    _add_namespace(commands)
    _add_probe(commands)
    _add_verify(commands)
    _add_proxy(commands)
    _add_support(commands)
    _add_version(commands)
    _add_completion(commands)
    return parser


def print_completion(arguments: argparse.Namespace) -> int:
    """Print the script that completes the words of `osm` in a shell."""
    import shtab

    print(shtab.complete(build_parser(), arguments.shell), flush=True)
    return 0


def _add_cluster_arguments(parser: CommandParser, *, defaults: Mapping[str, str]) -> None:
    """Add the arguments that select a cluster. `defaults`: by destination; without one, nothing is stored."""
    parser.add_argument(
        "--kubeconfig",
        default=defaults.get("kubeconfig", argparse.SUPPRESS),
        metavar="FILE",
        help="kubeconfig file (default: $KUBECONFIG, then ~/.kube/config)",
    )
    parser.add_argument(
        "--context",
        default=defaults.get("context", argparse.SUPPRESS),
        metavar="NAME",
        help="context of the kubeconfig (default: its current context)",
    )
    parser.add_argument(
        "--osm-namespace",
        type=_parse_optional_label,
        default=defaults.get("osm_namespace", argparse.SUPPRESS),
        metavar="NAME",
        help="namespace of the control plane (default: $OSM_NAMESPACE, then all namespaces)",
    )


def _add_group(commands: "Subparsers", name: str, description: str) -> "Subparsers":
    """Add a command that has subcommands."""
    group = commands.add_parser(name, help=description, description=_sentence(description))
    return group.add_subparsers(title="commands", metavar="COMMAND", required=True)


def _add_command(commands: "Subparsers", name: str, function: str, description: str) -> CommandParser:
    """Add a command that sends requests to a cluster."""
    command = commands.add_parser(name, help=description, description=_sentence(description))
    # Without a default here, an argument that was given before the command keeps its value.
    _add_cluster_arguments(command, defaults={})
    command.set_defaults(command=function)
    return command


def _sentence(description: str) -> str:
    return f"{description[0].upper()}{description[1:]}."


def _parse_optional_label(text: str) -> str:
    return parse_dns_label(text) if text else ""


def _parse_pod(text: str) -> str:
    namespace, slash, pod = text.rpartition("/")
    return f"{parse_dns_label(namespace) if slash else ''}{slash}{parse_dns_subdomain(pod)}"


def _add_output_format(command: CommandParser, default: str = "table") -> None:
    command.add_argument(
        "-o",
        "--output",
        choices=(default, "json", "yaml"),
        default=default,
        help="output format (default: %(default)s)",
    )


def _add_mesh(commands: "Subparsers") -> None:
    subcommands = _add_group(commands, "mesh", "list the meshes of a cluster")
    _add_output_format(_add_command(subcommands, "list", "mesh:list_meshes", "list the meshes of a cluster"))


def _add_namespace(commands: "Subparsers") -> None:
    subcommands = _add_group(commands, "namespace", "manage the namespaces of a mesh")
    listing = _add_command(
        subcommands, "list", "namespace:list_namespaces", "list the namespaces of one mesh or of all meshes"
    )
    listing.add_argument("--mesh-name", default="", metavar="NAME", help="list only this mesh (default: all meshes)")
    _add_output_format(listing)
    add = _add_namespace_command(subcommands, "add", "namespace:add_namespaces", "add namespaces to a mesh")
    add.add_argument(
        "--disable-sidecar-injection", action="store_true", help="do not inject sidecars into the namespaces' pods"
    )
    _add_namespace_command(subcommands, "remove", "namespace:remove_namespaces", "remove namespaces from a mesh")
    _add_namespace_command(subcommands, "ignore", "namespace:ignore_namespaces", "exclude namespaces from all meshes")


def _add_namespace_command(commands: "Subparsers", name: str, function: str, description: str) -> CommandParser:
    command = _add_command(commands, name, function, description)
    command.add_argument("namespaces", nargs="+", type=parse_dns_label, metavar="NAMESPACE", help="name of a namespace")
    command.add_argument(
        "--mesh-name", default=DEFAULT_MESH_NAME, metavar="NAME", help="name of the mesh (default: %(default)s)"
    )
    return command


def _add_probe(commands: "Subparsers") -> None:
    probe = _add_command(commands, "probe", "probe:probe", "query the health probes of the control plane's pods")
    probe.add_argument(
        "program",
        nargs="?",
        choices=("controller", "injector"),
        metavar="controller|injector",
        help="query only the pods of this program (default: both)",
    )
    probe.add_argument("--watch", action="store_true", help="repeat every second and print changes, until Ctrl-C")
    _add_output_format(probe, "text")


def _add_verify(commands: "Subparsers") -> None:
    function = "verify.control_plane:verify_control_plane"
    description = "check the whole control plane and suggest how to repair it"
    subcommands = _add_group(commands, "verify", "find faults of a control plane")
    for command in (
        _add_command(subcommands, "control-plane", function, description),
        _add_command(commands, "doctor", function, f"{description}; same as osm verify control-plane"),
    ):
        command.add_argument(
            "--fix",
            action="store_true",
            help="offer to remove the control plane's namespace from a mesh that enrolled it",
        )
        _add_output_format(command, "text")


def _add_proxy(commands: "Subparsers") -> None:
    subcommands = _add_group(commands, "proxy", "inspect sidecars and create their bootstrap configuration")
    _add_bootstrap(subcommands)
    listing = _add_command(
        subcommands, "list", "proxy:list_proxies", "list the proxies that are connected to the control plane"
    )
    _add_output_format(listing)
    get = _add_command(subcommands, "get", "proxy:get_from_proxy", "print a page of a proxy's admin port")
    get.add_argument(
        "page",
        choices=("certs", "clusters", "config_dump"),
        metavar="certs|clusters|config_dump",
        help="page of the admin port",
    )
    get.add_argument("pod", type=_parse_pod, metavar="POD", help="NAME or NAMESPACE/NAME of a pod")
    get.add_argument(
        "-n",
        "--namespace",
        type=parse_dns_label,
        default="default",
        metavar="NAME",
        help="namespace of the pod (default: %(default)s)",
    )


def _add_bootstrap(commands: "Subparsers") -> None:
    bootstrap = commands.add_parser(
        "bootstrap",
        help="print the Envoy bootstrap configuration of a pod's sidecar",
        description="Print the bootstrap configuration (JSON) with which an Envoy joins the mesh as the sidecar of "
        "POD. It contains a private key: make sure that only this Envoy can read it.",
        epilog="example: osm proxy bootstrap bookstore/bookstore-0 --mesh-dir mesh --output out.json",
    )
    bootstrap.add_argument("pod", metavar="POD", help="NAME or NAMESPACE/NAME of a pod of the mesh")
    bootstrap.add_argument(
        "--mesh-dir", type=parse_folder, required=True, metavar="DIR", help="folder of Kubernetes manifests (required)"
    )
    bootstrap.add_argument(
        "--ca-dir",
        type=parse_folder,
        default=Path("osm-ca"),
        metavar="DIR",
        help="folder of the certificate authority (default: ./%(default)s)",
    )
    bootstrap.add_argument(
        "--ads-address",
        default="",
        metavar="HOST:PORT",
        help="address of the controller's ADS (default: its Service, port 15128)",
    )
    bootstrap.add_argument(
        "--incremental", action="store_true", help="use incremental xDS (default: state of the world)"
    )
    bootstrap.add_argument(
        "--mesh-name", default=DEFAULT_MESH_NAME, metavar="NAME", help="name of the mesh (default: %(default)s)"
    )
    bootstrap.add_argument(
        "--osm-namespace",
        type=_parse_optional_label,
        default=argparse.SUPPRESS,
        metavar="NAME",
        help="namespace of the control plane (default: $OSM_NAMESPACE, then osm-system)",
    )
    bootstrap.add_argument(
        "--trust-domain",
        type=parse_trust_domain,
        default=DEFAULT_TRUST_DOMAIN,
        metavar="DOMAIN",
        help="trust domain of the proxies' identities (default: %(default)s)",
    )
    bootstrap.add_argument(
        "--output", type=Path, metavar="FILE", help="write to a file that only its owner can read (default: stdout)"
    )
    bootstrap.set_defaults(command="proxy_bootstrap:print_bootstrap")


def _add_support(commands: "Subparsers") -> None:
    subcommands = _add_group(commands, "support", "collect information for support")
    report = _add_command(
        subcommands,
        "bug-report",
        "bug_report:write_bug_report",
        "collect the state, logs and probe answers of control planes in an archive, without Secrets",
    )
    report.add_argument(
        "--output",
        type=Path,
        default=Path("osm-bug-report.tar.gz"),
        metavar="FILE",
        help="file of the archive (default: %(default)s)",
    )


def _add_version(commands: "Subparsers") -> None:
    version = _add_command(
        commands, "version", "version:print_versions", "print the versions of this command and of the control planes"
    )
    version.add_argument("--client", action="store_true", help="print only the version of this command")
    _add_output_format(version)


def _add_completion(commands: "Subparsers") -> None:
    completion = commands.add_parser(
        "completion",
        help="print a shell completion script",
        description='Print a completion script for a shell; for bash: eval "$(osm completion bash)"',
    )
    completion.add_argument(
        "shell", choices=("bash", "zsh", "tcsh"), metavar="bash|zsh|tcsh", help="shell that runs the script"
    )
    completion.set_defaults(command="arguments:print_completion")
