"""`osm completion`: the words of all commands -> a shell's script."""

import argparse

import shtab

from osm_probes.cli.arguments import parser


def print_completion(given: argparse.Namespace) -> int:
    """Print the script of one shell."""
    print(shtab.complete(parser(), given.shell), flush=True)
    return 0
