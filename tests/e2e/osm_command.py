"""The `osm` command, run in the cluster's network with the administrator's credentials."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.e2e.cluster import Cluster

_OSM: Final = Path(sys.executable).with_name("osm")


def osm(cluster: Cluster, *words: str, status: int = 0) -> str:
    """Run an `osm` command and return its output. Fails unless it exits with this status and without error output."""
    command = cluster.node.network.command(str(_OSM), *words, f"--kubeconfig={cluster.api.kubeconfig}")
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (result.returncode, result.stderr) == (status, ""), result.stdout
    return result.stdout
