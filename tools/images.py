"""Dockerfile, images/ -> the container images, by buildah, podman or docker: `python tools/images.py` (make image).

Where no registry can be reached, the base images are made of Debian packages (root, mmdebstrap). Settings of pip and
certificates that this machine needs reach the build as secrets. Lists of parts (SBOM) go to dist/.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from osm_probes import __version__
from tools.debian_base import NoDebianError, make_root, recipe

ROOT: Final = Path(__file__).parent.parent
_BUILD_WITHIN: Final = 1800.0
_PULL_WITHIN: Final = 90.0
# Where it could not be had before, it may be now, but a build must not wait long for that each time.
_TRY_WITHIN: Final = 15.0


class NoImageError(Exception):
    """An image cannot be built here; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image of this project. packages: what its base is made of where no registry can be reached."""

    name: str
    file: str
    base: str
    packages: tuple[str, ...]

    @property
    def tag(self) -> str:
        """Its full name on this machine."""
        return f"localhost/{self.name}:{__version__}"


PROGRAMS: Final = Image("osm-probes", "Dockerfile", "python:3.13-slim", ("python3", "python3-venv"))
INIT: Final = Image("osm-init", "images/init/Dockerfile", "debian:bookworm-slim", ("iptables",))
IMAGES: Final = (PROGRAMS, INIT)


class Builder:
    """buildah, podman or docker."""

    def __init__(self, program: str) -> None:
        self.program = program

    def build(self, image: Image) -> None:
        """Build an image, and put its list of parts into dist/. Raises NoImageError."""
        labels = {"VERSION": __version__, "REVISION": _revision(), "CREATED": _now()}
        arguments = {"BASE_IMAGE": self._base(image), **labels}
        flags = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        command = [*flags, *_secrets(), f"--file={image.file}", "."]
        self._build(f"--tag={image.tag}", *command)
        self._build("--target=sbom", f"--output=type=local,dest={ROOT / 'dist'}", *command)

    def assemble(self, tag: str, text: str, *files: Path) -> None:
        """Build an image from the text of a Dockerfile and the files that it names. Raises NoImageError."""
        with tempfile.TemporaryDirectory() as folder:
            for each in files:
                shutil.copy2(each, folder)
            Path(folder, "Dockerfile").write_text(text)
            self._build(f"--tag={tag}", f"--file={folder}/Dockerfile", folder)

    def size(self, image: Image) -> int:
        """The bytes of an image's files."""
        file = _scratch_file()
        try:
            self.save(image.tag, file)
            return file.stat().st_size
        finally:
            file.unlink(missing_ok=True)

    def save(self, tag: str, file: Path) -> None:
        """Write an image as an archive that `ctr images import` and `docker load` read."""
        file.unlink(missing_ok=True)
        match self.program:
            case "buildah":
                self._run("push", "--quiet", tag, f"docker-archive:{file}:{tag}")
            case _:
                self._run("save", "--output", str(file), tag)

    def has(self, tag: str) -> bool:
        """Whether this machine has the image."""
        return _succeeds([self.program, "inspect", "--type=image", tag], within=60.0)

    def _base(self, image: Image) -> str:
        """The name of the image's base, which is here then."""
        made = f"localhost/{image.name}-base:{recipe(image.packages)}"
        has_made = self.has(made)
        within = _TRY_WITHIN if has_made else _PULL_WITHIN
        if self.has(image.base) or _succeeds([self.program, "pull", image.base], within=within):
            return image.base
        if not has_made:
            print(f"{image.base} cannot be had: its like is made of Debian packages", file=sys.stderr, flush=True)
            self._make_base(image, made)
        return made

    def _make_base(self, image: Image, tag: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder, "root.tar")
            try:
                make_root(image.packages, file=root)
            except NoDebianError as error:
                raise NoImageError(f"no registry to get {image.base} from, and {error}") from error
            self.assemble(tag, 'FROM scratch\nADD root.tar /\nENV LANG=C.UTF-8\nCMD ["/bin/sh"]\n', root)

    def _build(self, *arguments: str) -> None:
        match self.program:
            case "docker":
                self._run("build", "--quiet", *arguments)
            case _:
                # chroot wants no runtime, which would want more of this machine; the other format has no health check.
                self._run("build", "--quiet", "--layers", "--isolation=chroot", "--format=docker", *arguments)

    def _run(self, *arguments: str) -> str:
        return _run([self.program, *arguments], within=_BUILD_WITHIN)


def builder() -> Builder:
    """What builds images here. Raises NoImageError."""
    for program in ("buildah", "podman", "docker"):
        if shutil.which(program) and _succeeds([program, "info"], within=20.0):
            return Builder(program)
    raise NoImageError("no buildah, podman or docker that works here")


def _secrets() -> Iterator[str]:
    """What this machine needs to reach its package index, if it needs anything."""
    settings = [os.environ.get("PIP_CONFIG_FILE"), "~/.config/pip/pip.conf", "/etc/pip.conf"]
    bundles = [os.environ.get(name) for name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")]
    for name, paths in (("pip_conf", settings), ("ca_bundle", bundles)):
        for path in filter(None, paths):
            if Path(path).expanduser().is_file():
                yield f"--secret=id={name},src={Path(path).expanduser()}"
                break


def _revision() -> str:
    """The commit that is checked out; empty outside of a checkout."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _scratch_file() -> Path:
    descriptor, name = tempfile.mkstemp(suffix=".tar")
    os.close(descriptor)
    return Path(name)


def _succeeds(command: Sequence[str], *, within: float) -> bool:
    with contextlib.suppress(NoImageError):
        _run(command, within=within)
        return True
    return False


def _run(command: Sequence[str], *, within: float) -> str:
    what = " ".join(command[:2])
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=within, check=False)
    except subprocess.TimeoutExpired:
        raise NoImageError(f"{what} took more than {within:g} s") from None
    if done.returncode:
        raise NoImageError(f"{what}: {' | '.join(done.stderr.strip().splitlines()[-5:]) or 'failed'}")
    return done.stdout


def main() -> None:
    """Build all, and say what there is."""
    try:
        by = builder()
        for image in IMAGES:
            by.build(image)
            print(f"{image.tag}  {by.size(image) / 1e6:.0f} MB  dist/{image.name}.cdx.json")
    except NoImageError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
