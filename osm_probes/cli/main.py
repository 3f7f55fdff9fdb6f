"""The `osm` command: argv -> output on stdout, or `Error: …` on stderr and exit status 1.

Each command's module is imported only when the command runs, so that `osm --help` is fast.
"""

import importlib
import os
import signal
import sys
from collections.abc import Sequence

from osm_probes.cli.arguments import build_parser
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.text import printable


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command. Exit with 0 on success, 1 on an error, 2 on wrong arguments, 130 on SIGINT.

    `osm verify` and `osm probe` also exit with 2 if the health of a control plane is unknown.
    """
    words = sys.argv[1:] if argv is None else argv
    parser = build_parser()
    arguments = parser.parse_args(words)
    if "command" not in arguments:
        parser.parse_args([*words, "--help"])
    module, function = arguments.command.split(":")
    try:
        status = getattr(importlib.import_module(f"osm_probes.cli.{module}"), function)(arguments)
    except OsmError as error:
        print(printable(f"Error: {error}"), file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader closed the pipe. Discard buffered output, or the flush at exit would raise the same error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    if status:
        sys.exit(status)
