"""Pinned Go modules -> the programs of a Kubernetes node and of its system pods: `python -m tools.node_binaries`.

The node's programs are built into the same cache folder as etcd and kube-apiserver.
"""

import sys
from pathlib import Path
from typing import Final

from tools.go_programs import GoPrograms, NoProgramError
from tools.kubernetes_binaries import stamps

_TESTS: Final = Path(__file__).parents[1] / "tests"
_LACKING: Final = "building Kubernetes needs Go: install Go"

_NODE: Final = GoPrograms(
    "kubernetes",
    _TESTS / "kubernetes" / "build",
    {
        name: f"k8s.io/kubernetes/cmd/{name}"
        for name in ("kubelet", "kube-proxy", "kube-controller-manager", "kube-scheduler", "kubectl")
    },
    module="k8s.io/kubernetes",
    stamps=stamps,
    lacking=_LACKING,
    takes="5 to 10 minutes for all",
)
_PODS: Final = GoPrograms(
    "pods",
    _TESTS / "e2e" / "build",
    {"pause": "./pause", "coredns": "./coredns"},
    module="github.com/coredns/coredns",
    stamps=lambda _: {},
    lacking=_LACKING,
    takes="2 to 5 minutes",
)


def node_binaries() -> Path:
    """The folder with kubelet, kube-proxy, controller manager, scheduler and kubectl. Raises NoProgramError."""
    return _NODE.built()


def pod_binaries() -> Path:
    """The folder with the programs that the cluster's system pods run: pause and coredns. Raises NoProgramError."""
    return _PODS.built()


if __name__ == "__main__":
    try:
        print(node_binaries(), pod_binaries(), sep="\n")
    except NoProgramError as error:
        sys.exit(str(error))
