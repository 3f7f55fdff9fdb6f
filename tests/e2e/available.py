"""What a one-node cluster needs of the machine."""

import os
import shutil
from pathlib import Path
from typing import Final

from demo.namespaces import why_no_namespaces
from tests.e2e.cgroups import why_no_cgroups
from tools.envoy_binary import NoEnvoyError, envoy_binary
from tools.go_programs import NoProgramError
from tools.images import NoImageError, builder
from tools.kubernetes_binaries import kubernetes_binaries
from tools.node_binaries import node_binaries, pod_binaries

# Debian's packages, by a program of each.
_PACKAGES: Final = {
    "containerd": "containerd",
    "curl": "curl",
    "ip": "iproute2",
    "iptables": "iptables",
    "nsenter": "util-linux",
    "runc": "runc",
}
_CNI: Final = Path("/usr/lib/cni/bridge")


def why_no_cluster() -> str:
    """Why there can be no cluster here, in one line; empty if there can. Builds what is to be built: minutes, once."""
    if os.geteuid() != 0:
        return "a one-node cluster needs root"
    missing = [package for program, package in _PACKAGES.items() if not shutil.which(program)]
    missing += [] if _CNI.exists() else ["containernetworking-plugins"]
    if missing:
        return f"a one-node cluster needs Debian's {' '.join(missing)}"
    if reason := why_no_cgroups() or why_no_namespaces():
        return f"a one-node cluster: {reason}"
    try:
        builder(), kubernetes_binaries(), node_binaries(), pod_binaries(), envoy_binary()
    except (NoEnvoyError, NoImageError, NoProgramError) as error:
        return f"a one-node cluster: {error}"
    return ""
