"""The requirements of a one-node cluster on the machine."""

import os
import shutil
from pathlib import Path
from typing import Final

from demo.namespaces import network_namespace_problem
from tests.e2e.cgroups import cgroup_problem
from tools.envoy_binary import NoEnvoyError, envoy_binary
from tools.go_programs import NoProgramError
from tools.images import NoImageError, builder
from tools.kubernetes_binaries import kubernetes_binaries
from tools.node_binaries import node_binaries, pod_binaries

# Program -> the Debian package that provides it.
_PACKAGES: Final = {
    "containerd": "containerd",
    "curl": "curl",
    "ip": "iproute2",
    "iptables": "iptables",
    "nsenter": "util-linux",
    "runc": "runc",
}
_CNI: Final = Path("/usr/lib/cni/bridge")


def cluster_problem() -> str:
    """The reason in one line why there can be no cluster on this machine; empty if there can.

    It builds missing programs and images, which takes minutes the first time.
    """
    if os.geteuid() != 0:
        return "a one-node cluster needs root"
    missing = [package for program, package in _PACKAGES.items() if not shutil.which(program)]
    missing += [] if _CNI.exists() else ["containernetworking-plugins"]
    if missing:
        return f"a one-node cluster needs Debian's {' '.join(missing)}"
    if reason := cgroup_problem() or network_namespace_problem():
        return f"a one-node cluster: {reason}"
    try:
        builder(), kubernetes_binaries(), node_binaries(), pod_binaries(), envoy_binary()
    except (NoEnvoyError, NoImageError, NoProgramError) as error:
        return f"a one-node cluster: {error}"
    return ""
