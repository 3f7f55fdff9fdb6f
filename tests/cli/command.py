"""The osm command, run in this process."""

import contextlib
import io
from dataclasses import dataclass

from osm_probes.cli.main import main
from tests.kubernetes.apiserver import ApiServer


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


def osm(*words: str, cluster: ApiServer | None = None) -> Said:
    """Run a command, as the administrator of a cluster."""
    flags = ("--kubeconfig", str(cluster.kubeconfig)) if cluster else ()
    out, err = io.StringIO(), io.StringIO()
    status = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([*words, *flags])
        except SystemExit as end:
            status = int(end.code or 0)
    return Said(status, out.getvalue(), err.getvalue())
