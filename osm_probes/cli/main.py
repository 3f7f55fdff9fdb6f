"""The `osm` command: argv -> one command's text on stdout, or `Error: …` on stderr and status 1.

Commands import what they need when they run, so that `osm --help` answers at once.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from osm_probes import __version__
from osm_probes.configuration.flags import domain, folder
from osm_probes.foundation.errors import OsmError


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and end the process with its status: 0, 1 for an error, 2 for a wrong command line."""
    parser = _parser()
    given = parser.parse_args(argv)
    if "command" not in given:
        parser.parse_args([*(sys.argv[1:] if argv is None else argv), "--help"])
    module, function = given.command.split(":")
    try:
        text = getattr(importlib.import_module(f"osm_probes.cli.{module}"), function)(given)
    except OsmError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)
    try:
        print(text, end="\n" if text else "", flush=True)
    except BrokenPipeError:
        sys.stderr.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "osm", description="Look after the mesh and its control plane.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"osm {__version__}")
    nouns = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_proxy(nouns)
    return parser


def _add_proxy(nouns: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    proxy = nouns.add_parser("proxy", help="sidecars: their bootstrap", allow_abbrev=False)
    verbs = proxy.add_subparsers(title="commands", metavar="COMMAND", required=True)
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
    bootstrap.add_argument(
        "--osm-namespace", default="osm-system", metavar="NAME", help="the controller's (%(default)s)"
    )
    bootstrap.add_argument(
        "--trust-domain", type=domain, default="cluster.local", metavar="NAME", help="of identities (%(default)s)"
    )
    bootstrap.add_argument("--output", type=Path, metavar="FILE", help="write it there, readable by its owner alone")
    bootstrap.set_defaults(command="proxy:print_bootstrap")
