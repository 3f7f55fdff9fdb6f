"""Pinned Go modules -> programs in the user's cache, built once."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

_BUILD_WITHIN: Final = 3600.0


class NoProgramError(Exception):
    """A program is missing and cannot be built on this machine; the message gives the reason in one line."""


@dataclass(frozen=True, slots=True)
class GoPrograms:
    """Go programs that are built from the modules pinned by go.mod and go.sum in the folder `pins`.

    packages: program name -> Go package. stamps: the version of `module` -> linker variables to set and their values.
    lacking: the error text for a machine without Go. takes: how long the build takes, for the progress message.
    """

    name: str
    pins: Path
    packages: Mapping[str, str]
    module: str
    stamps: Callable[[str], Mapping[str, str]]
    lacking: str
    takes: str

    def built(self) -> Path:
        """The folder that contains all programs. Missing ones are built. Raises NoProgramError."""
        pinned = b"".join((self.pins / name).read_bytes() for name in ("go.mod", "go.sum"))
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "osm-probes"
        folder = cache / f"{self.name}-{sha256(pinned).hexdigest()[:16]}"
        missing = [name for name in self.packages if not (folder / name).exists()]
        if missing:
            if not shutil.which("go"):
                raise NoProgramError(self.lacking)
            with _locked(folder):
                for name in missing:
                    self._build(name, folder)
        return folder

    def _build(self, name: str, folder: Path) -> None:
        target = folder / name
        if target.exists():  # another process built it while this one waited for the lock
            return
        print(f"building {name} from Go modules (once; {self.takes})", file=sys.stderr, flush=True)
        scratch = folder / f".{name}.new"
        # Without the linker flags the program would report an empty version.
        version = self._go("list", "-m", "-f", "{{.Version}}", self.module, within=600.0).strip()
        flags = " ".join(["-s", "-w", *(f"-X {key}={value}" for key, value in self.stamps(version).items())])
        self._go("build", "-ldflags", flags, "-o", str(scratch), self.packages[name], within=_BUILD_WITHIN)
        scratch.rename(target)  # atomic: the program is never incomplete

    def _go(self, verb: str, *arguments: str, within: float) -> str:
        environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -mod=readonly -trimpath"}
        command = ["go", verb, *arguments]
        try:
            process = subprocess.run(
                command, cwd=self.pins, env=environment, capture_output=True, text=True, timeout=within, check=False
            )
        except subprocess.TimeoutExpired:
            raise NoProgramError(f"go {verb} took more than {within:g} s") from None
        if process.returncode:
            raise NoProgramError(f"go {verb}: {(process.stderr.strip() or 'failed').splitlines()[-1]}")
        return process.stdout


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise NoProgramError(f"{folder}: {error.strerror or error}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
