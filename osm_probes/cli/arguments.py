"""The words of each `osm` command, and which function does it; nothing heavy is loaded for `--help`."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from osm_probes import __version__
from osm_probes.configuration.flags import domain, folder, label, name

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; what it leaves in `command` is `module:function`."""
    made = argparse.ArgumentParser("osm", description="Look after the mesh and its control plane.", allow_abbrev=False)
    made.add_argument("--version", action="version", version=f"osm {__version__}")
    _add_cluster(made)
    nouns = made.add_subparsers(title="commands", metavar="COMMAND")
    _add_mesh(nouns)
    _add_namespace(nouns)
    _add_probe(nouns)
    _add_verify(nouns)
    _add_proxy(nouns)
    _add_support(nouns)
    version = _verb(nouns, "version", "version:tell_versions", "versions of this command and of the control planes")
    version.add_argument("--client", action="store_true", help="of this command alone: no cluster is asked")
    _add_output(version)
    completion = nouns.add_parser("completion", help="what completes osm's words in a shell", allow_abbrev=False)
    completion.description = 'Print a script; for bash: eval "$(osm completion bash)"'
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"), metavar="bash|zsh|tcsh")
    completion.set_defaults(command="completion:print_completion")
    return made


def _add_cluster(made: argparse.ArgumentParser) -> None:
    """Which cluster is asked; said before the noun, or after the verb, where nothing is the default."""
    made.add_argument("--kubeconfig", default="", metavar="FILE", help="kubeconfig ($KUBECONFIG, else ~/.kube/config)")
    made.add_argument("--context", default="", metavar="NAME", help="context of the kubeconfig (its current one)")
    made.add_argument(
        "--osm-namespace",
        type=_home,
        default=os.environ.get("OSM_NAMESPACE", ""),
        metavar="NAME",
        help="the control plane's namespace ($OSM_NAMESPACE, else all that there are)",
    )


def _noun(nouns: "Verbs", name: str, what: str) -> "Verbs":
    noun = nouns.add_parser(name, help=what, description=what, allow_abbrev=False)
    return noun.add_subparsers(title="commands", metavar="COMMAND", required=True)


def _verb(verbs: "Verbs", name: str, command: str, what: str) -> argparse.ArgumentParser:
    """A command that asks a cluster."""
    verb = verbs.add_parser(name, help=what, description=what, allow_abbrev=False)
    for flag, value in (("--kubeconfig", "FILE"), ("--context", "NAME")):
        verb.add_argument(flag, default=argparse.SUPPRESS, metavar=value, help=f"as osm {flag}")
    _add_home(verb)
    verb.set_defaults(command=command)
    return verb


def _add_home(verb: argparse.ArgumentParser) -> None:
    what = "as osm --osm-namespace"
    verb.add_argument("--osm-namespace", type=_home, default=argparse.SUPPRESS, metavar="NAME", help=what)


def _home(text: str) -> str:
    return label(text) if text else ""


def _pod(text: str) -> str:
    namespace, slash, pod = text.rpartition("/")
    return f"{label(namespace) if slash else ''}{slash}{name(pod)}"


def _add_output(verb: argparse.ArgumentParser, human: str = "table") -> None:
    verb.add_argument(
        "-o",
        "--output",
        choices=(human, "json", "yaml"),
        default=human,
        help="for people, or for programs (%(default)s)",
    )


def _add_mesh(nouns: "Verbs") -> None:
    verbs = _noun(nouns, "mesh", "meshes of the cluster")
    _add_output(_verb(verbs, "list", "mesh:list_meshes", "list the meshes of the cluster"))


def _add_namespace(nouns: "Verbs") -> None:
    verbs = _noun(nouns, "namespace", "namespaces of a mesh")
    listing = _verb(verbs, "list", "namespace:list_namespaces", "list the namespaces of one mesh, or of all")
    listing.add_argument("--mesh-name", default="", metavar="NAME", help="of this mesh alone")
    _add_output(listing)
    add = _several(verbs, "add", "namespace:add_namespaces", "have the mesh follow namespaces and inject their pods")
    add.add_argument("--disable-sidecar-injection", action="store_true", help="give their pods no sidecars")
    _several(verbs, "remove", "namespace:remove_namespaces", "take namespaces out of the mesh")
    _several(verbs, "ignore", "namespace:ignore_namespaces", "keep namespaces out of every mesh")


def _several(verbs: "Verbs", name: str, command: str, what: str) -> argparse.ArgumentParser:
    verb = _verb(verbs, name, command, what)
    verb.add_argument("namespaces", nargs="+", type=label, metavar="NAMESPACE")
    verb.add_argument("--mesh-name", default="osm", metavar="NAME", help="name of the mesh (%(default)s)")
    return verb


def _add_probe(nouns: "Verbs") -> None:
    probe = _verb(nouns, "probe", "probe:probe", "ask the health probes of the control plane's pods")
    probe.add_argument(
        "program", nargs="?", choices=("controller", "injector"), metavar="controller|injector", help="this one alone"
    )
    probe.add_argument("--watch", action="store_true", help="go on, and say what changes")
    _add_output(probe, "text")


def _add_verify(nouns: "Verbs") -> None:
    what = "look at the whole control plane: what is wrong, why, and what to do"
    verbs = _noun(nouns, "verify", "look for faults")
    for verb in (
        _verb(verbs, "control-plane", "verify.control_plane:verify_control_plane", what),
        _verb(nouns, "doctor", "verify.control_plane:verify_control_plane", what),
    ):
        verb.add_argument(
            "--fix", action="store_true", help="ask, then end enrolments of the control plane's namespace"
        )
        _add_output(verb, "text")


def _add_support(nouns: "Verbs") -> None:
    verbs = _noun(nouns, "support", "help for those who help")
    report = _verb(verbs, "bug-report", "bug_report:write_report", "gather all that explains a fault into one archive")
    report.add_argument(
        "--output", type=Path, default=Path("osm-bug-report.tar.gz"), metavar="FILE", help="the archive (%(default)s)"
    )


def _add_proxy(nouns: "Verbs") -> None:
    verbs = _noun(nouns, "proxy", "sidecars: who is connected, what they have, their bootstrap")
    bootstrap = verbs.add_parser(
        "bootstrap",
        help="print the bootstrap with which an Envoy joins the mesh as a pod's sidecar",
        description="Print the bootstrap (JSON) with which an Envoy joins the mesh as the sidecar of POD. "
        "It holds a private key: keep it where only that Envoy can read it.",
        epilog="example: osm proxy bootstrap bookstore/bookstore-0 --mesh-dir examples/bookstore --output out.json",
        allow_abbrev=False,
    )
    bootstrap.add_argument("pod", metavar="POD", help="NAME or NAMESPACE/NAME of a pod of the mesh")
    bootstrap.add_argument("--mesh-dir", type=folder, required=True, metavar="DIR", help="folder of manifests")
    bootstrap.add_argument(
        "--ca-dir", type=folder, default=Path("osm-ca"), metavar="DIR", help="the CA's folder (./osm-ca)"
    )
    bootstrap.add_argument("--ads-address", default="", metavar="HOST:PORT", help="where the controller's ADS listens")
    bootstrap.add_argument("--incremental", action="store_true", help="use incremental xDS")
    bootstrap.add_argument("--mesh-name", default="osm", metavar="NAME", help="name of the mesh (%(default)s)")
    _add_home(bootstrap)
    bootstrap.add_argument(
        "--trust-domain", type=domain, default="cluster.local", metavar="NAME", help="of identities (%(default)s)"
    )
    bootstrap.add_argument("--output", type=Path, metavar="FILE", help="write it there, readable by its owner alone")
    bootstrap.set_defaults(command="proxy:print_bootstrap")
    listing = _verb(verbs, "list", "proxies:list_proxies", "list the proxies that are connected to the control plane")
    _add_output(listing)
    get = _verb(verbs, "get", "proxies:get_from_proxy", "ask the admin port of a pod's proxy")
    get.add_argument("what", choices=("certs", "clusters", "config_dump"), metavar="certs|clusters|config_dump")
    get.add_argument("pod", type=_pod, metavar="POD", help="NAME or NAMESPACE/NAME of a pod")
    get.add_argument(
        "-n", "--namespace", type=label, default="default", metavar="NAME", help="its namespace (%(default)s)"
    )
