"""The `osm` command: argv -> one command's text on stdout, or `Error: …` on stderr and status 1.

Commands import what they need when they run, so that `osm --help` answers at once.
"""

import importlib
import os
import signal
import sys
from collections.abc import Sequence

from osm_probes.cli.arguments import parser
from osm_probes.foundation.errors import OsmError


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and end the process with its status: 0, 1 for an error, 2 for a wrong command line."""
    words = sys.argv[1:] if argv is None else argv
    given = parser().parse_args(words)
    if "command" not in given:
        parser().parse_args([*words, "--help"])
    module, function = given.command.split(":")
    try:
        status = getattr(importlib.import_module(f"osm_probes.cli.{module}"), function)(given)
    except OsmError as error:
        print(f"Error: {error}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except BrokenPipeError:
        # Who read it has seen enough. What is still buffered goes nowhere, so that the exit does not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    if status:
        sys.exit(status)
