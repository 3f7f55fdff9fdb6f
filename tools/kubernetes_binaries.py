"""tests/kubernetes/build -> etcd and kube-apiserver for tests: `python tools/kubernetes_binaries.py` says where.

Built once from the pinned Go modules into the user's cache; KUBEBUILDER_ASSETS names a folder that has them already.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

BUILD: Final = Path(__file__).parent.parent / "tests" / "kubernetes" / "build"
_PROGRAMS: Final = {"etcd": "go.etcd.io/etcd/server/v3", "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver"}
_STAMPED: Final = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
_BUILD_WITHIN: Final = 3600.0


class NoKubernetesError(Exception):
    """There is no API server here; the message says why, in one line."""


def kubernetes_binaries() -> Path:
    """The folder with etcd and kube-apiserver; they are built if need be, which takes 4 to 10 minutes on two cores."""
    if given := os.environ.get("KUBEBUILDER_ASSETS"):
        return _complete(Path(given))
    pins = b"".join((BUILD / name).read_bytes() for name in ("go.mod", "go.sum"))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "osm-probes"
    folder = cache / f"kubernetes-{sha256(pins).hexdigest()[:16]}"
    missing = [name for name in _PROGRAMS if not (folder / name).exists()]
    if missing:
        if not shutil.which("go"):
            raise NoKubernetesError("no Go to build an API server with: install it, or set KUBEBUILDER_ASSETS")
        with _locked(folder):
            for name in missing:
                _build(name, folder)
    return folder


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise NoKubernetesError(f"{folder}: {error.strerror or error}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _complete(folder: Path) -> Path:
    for name in _PROGRAMS:
        if not os.access(folder / name, os.X_OK):
            raise NoKubernetesError(f"KUBEBUILDER_ASSETS={folder} has no {name}")
    return folder


def _build(name: str, folder: Path) -> None:
    target = folder / name
    if target.exists():  # somebody was quicker
        return
    print(f"building {name} from Go modules (once; 4 to 10 minutes for all)", file=sys.stderr, flush=True)
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -mod=readonly -trimpath"}
    scratch = folder / f".{name}.new"
    command = ["go", "build", "-ldflags", _version_flags(environment), "-o", str(scratch), _PROGRAMS[name]]
    _run(command, environment, within=_BUILD_WITHIN)
    scratch.rename(target)  # whole or not at all


def _version_flags(environment: dict[str, str]) -> str:
    """Without its version the API server says that it is of none."""
    command = ["go", "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes"]
    version = _run(command, environment, within=600.0).strip()
    major, minor, _ = version.removeprefix("v").split(".", 2)
    said = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    flags = [f"-X {package}.{key}={value}" for package in _STAMPED for key, value in said.items()]
    return " ".join(["-s", "-w", *flags])


def _run(command: list[str], environment: dict[str, str], *, within: float) -> str:
    try:
        done = subprocess.run(
            command, cwd=BUILD, env=environment, capture_output=True, text=True, timeout=within, check=False
        )
    except subprocess.TimeoutExpired:
        raise NoKubernetesError(f"{command[0]} {command[1]} took more than {within:g} s") from None
    if done.returncode:
        raise NoKubernetesError(f"go {command[1]}: {(done.stderr.strip() or 'failed').splitlines()[-1]}")
    return done.stdout


if __name__ == "__main__":
    try:
        print(kubernetes_binaries())
    except NoKubernetesError as error:
        sys.exit(str(error))
