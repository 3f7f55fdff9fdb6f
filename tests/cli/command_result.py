"""The osm command, run in the test's process."""

import contextlib
import io
from dataclasses import dataclass

from osm_probes.cli.main import main
from tests.kubernetes.apiserver import ApiServer


@dataclass(frozen=True)
class CommandResult:
    """The exit status, stdout and stderr of a command."""

    status: int
    out: str
    err: str


def run_osm(*words: str, cluster: ApiServer | None = None) -> CommandResult:
    """Run a command. With a cluster, it runs as the administrator of this cluster."""
    flags = ("--kubeconfig", str(cluster.kubeconfig)) if cluster else ()
    out, err = io.StringIO(), io.StringIO()
    status = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([*words, *flags])
        except SystemExit as exit_error:
            status = int(exit_error.code or 0)
    return CommandResult(status, out.getvalue(), err.getvalue())
