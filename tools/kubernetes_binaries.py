"""tests/kubernetes/build -> the folder with etcd and kube-apiserver, for tests: `python -m tools.kubernetes_binaries`.

They are built once from pinned Go modules into the user's cache. Set KUBEBUILDER_ASSETS to use another folder.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tools.go_programs import GoPrograms, NoProgramError

_STAMPED: Final = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")


def stamps(version: str) -> Mapping[str, str]:
    """The linker variables in which Kubernetes programs keep their version, with their values."""
    major, minor, _ = version.removeprefix("v").split(".", 2)
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return {f"{package}.{key}": value for package in _STAMPED for key, value in values.items()}


_KUBERNETES: Final = GoPrograms(
    "kubernetes",
    Path(__file__).parents[1] / "tests" / "kubernetes" / "build",
    {"etcd": "go.etcd.io/etcd/server/v3", "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver"},
    module="k8s.io/kubernetes",
    stamps=stamps,
    lacking="building an API server needs Go: install Go, or set KUBEBUILDER_ASSETS",
    takes="4 to 10 minutes for all",
)


def kubernetes_binaries() -> Path:
    """The folder with etcd and kube-apiserver. They are built if missing, which takes 4 to 10 minutes on two cores.

    Raises NoProgramError.
    """
    if override := os.environ.get("KUBEBUILDER_ASSETS"):
        return _complete(Path(override))
    return _KUBERNETES.built()


def _complete(folder: Path) -> Path:
    for name in _KUBERNETES.packages:
        if not os.access(folder / name, os.X_OK):
            raise NoProgramError(f"KUBEBUILDER_ASSETS={folder} has no {name}")
    return folder


if __name__ == "__main__":
    try:
        print(kubernetes_binaries())
    except NoProgramError as error:
        sys.exit(str(error))
