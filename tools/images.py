"""Dockerfile, images/ -> the container images, built with buildah, podman or docker: `make image`.

Without a reachable registry, substitutes for the base images are built from Debian packages (needs root and
mmdebstrap). This machine's pip configuration and CA certificates are passed to the build as secrets. A software bill of
materials (SBOM) for each image is written to dist/.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from osm_probes import __version__
from tools.debian_base import NoDebianError, fingerprint, make_root

ROOT: Final = Path(__file__).parent.parent
_BUILD_WITHIN: Final = 1800.0
_PULL_WITHIN: Final = 90.0
# A substitute exists, so the registry was unreachable before: try it again, but do not delay every build.
_TRY_WITHIN: Final = 15.0


class NoImageError(Exception):
    """An image cannot be built on this machine; the message gives the reason in one line."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image of this project.

    packages: the Debian packages of a substitute for `base` without a registry. source: the folder with its sources.
    """

    name: str
    file: str
    packages: tuple[str, ...]
    source: Path = ROOT
    version: str = __version__

    @property
    def base(self) -> str:
        """The base image that the Dockerfile names, with its digest if it has one there."""
        return next(line.partition("=")[2] for line in self._lines() if line.startswith("ARG BASE_IMAGE="))

    @property
    def format(self) -> str:
        """The image format. OCI images have no health check; docker images contain random names of the build."""
        return "docker" if any(line.startswith("HEALTHCHECK") for line in self._lines()) else "oci"

    def _lines(self) -> list[str]:
        return (self.source / self.file).read_text().splitlines()

    @property
    def tag(self) -> str:
        """The full name of the image on this machine."""
        return f"localhost/{self.name}:{self.version}"


PROGRAMS: Final = Image("osm-probes", "Dockerfile", ("python3", "python3-venv"))
INIT: Final = Image("osm-init", "images/init/Dockerfile", ("iptables",))
IMAGES: Final = (PROGRAMS, INIT)


class Builder:
    """Builds images with one program: buildah, podman or docker."""

    def __init__(self, program: str) -> None:
        self.program = program

    def build(self, image: Image) -> None:
        """Build an image, and write its SBOM to dist/ of its sources. Raises NoImageError."""
        created = datetime.fromtimestamp(_epoch(), UTC).isoformat()
        labels = {"VERSION": image.version, "REVISION": _git("rev-parse", "HEAD"), "CREATED": created}
        arguments = {"BASE_IMAGE": self._base(image), **labels}
        flags = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        command = [*flags, *_secrets(), f"--file={image.source / image.file}", str(image.source)]
        self._build(f"--tag={image.tag}", *self._reproducible(image), *command)
        self._build("--target=sbom", f"--output=type=local,dest={image.source / 'dist'}", *command)

    def assemble(self, tag: str, text: str, *files: Path) -> None:
        """Build an image from the text of a Dockerfile and the files that it copies. Raises NoImageError."""
        with tempfile.TemporaryDirectory() as folder:
            for file in files:
                shutil.copy2(file, folder)
            Path(folder, "Dockerfile").write_text(text)
            self._build(f"--tag={tag}", f"--file={folder}/Dockerfile", folder)

    def size(self, image: Image) -> int:
        """The size of an image's archive, in bytes."""
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
        """The name of an image's base, which is on this machine when this returns. Raises NoImageError."""
        substitute = f"localhost/{image.name}-base:{fingerprint(image.packages)}"
        has_substitute = self.has(substitute)
        within = _TRY_WITHIN if has_substitute else _PULL_WITHIN
        if self.has(image.base) or _succeeds([self.program, "pull", image.base], within=within):
            return image.base
        if not has_substitute:
            print(f"cannot pull {image.base}: building a substitute from Debian packages", file=sys.stderr, flush=True)
            self._make_base(image, substitute)
        return substitute

    def _make_base(self, image: Image, tag: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder, "root.tar")
            try:
                make_root(image.packages, file=root)
            except NoDebianError as error:
                raise NoImageError(f"cannot pull {image.base}, and {error}") from error
            self.assemble(tag, 'FROM scratch\nADD root.tar /\nENV LANG=C.UTF-8\nCMD ["/bin/sh"]\n', root)

    def _build(self, *arguments: str) -> None:
        match self.program:
            case "docker":
                self._run("build", "--quiet", *arguments)
            case _:
                self._run(
                    "build", "--quiet", "--layers", "--isolation=chroot", *arguments
                )  # needs no container runtime

    def _reproducible(self, image: Image) -> list[str]:
        """The flags with which two builds of a commit give equal images: all time stamps are the commit's time."""
        match self.program:
            case "docker":
                return [f"--build-arg=SOURCE_DATE_EPOCH={_epoch()}"]
            case _:
                return [f"--timestamp={_epoch()}", f"--format={image.format}"]

    def _run(self, *arguments: str) -> str:
        return _run([self.program, *arguments], within=_BUILD_WITHIN)


def builder() -> Builder:
    """The first of buildah, podman and docker that works on this machine. Raises NoImageError."""
    for program in ("buildah", "podman", "docker"):
        if shutil.which(program) and _succeeds([program, "info"], within=20.0):
            return Builder(program)
    raise NoImageError("found no working buildah, podman or docker")


def _secrets() -> Iterator[str]:
    """The build secrets for this machine's package index: pip's configuration and CA certificates, if there are any."""
    settings = [os.environ.get("PIP_CONFIG_FILE"), "~/.config/pip/pip.conf", "/etc/pip.conf"]
    bundles = [os.environ.get(name) for name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")]
    for name, paths in (("pip_conf", settings), ("ca_bundle", bundles)):
        for path in filter(None, paths):
            if Path(path).expanduser().is_file():
                yield f"--secret=id={name},src={Path(path).expanduser()}"
                break


def _git(*arguments: str) -> str:
    """The output of a Git command; empty if this is not a Git working tree."""
    process = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return process.stdout.strip()


def _epoch() -> int:
    """The time of the current commit in seconds since 1970, if SOURCE_DATE_EPOCH does not set another one."""
    return int(os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct") or time.time())


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
        process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=within, check=False)
    except subprocess.TimeoutExpired:
        raise NoImageError(f"{what} took more than {within:g} s") from None
    if process.returncode:
        raise NoImageError(f"{what}: {' | '.join(process.stderr.strip().splitlines()[-5:]) or 'failed'}")
    return process.stdout


def main() -> None:
    """Build all images and print their names and sizes."""
    try:
        by = builder()
        for image in IMAGES:
            by.build(image)
            print(f"{image.tag}  {by.size(image) / 1e6:.0f} MB  dist/{image.name}.cdx.json")
    except NoImageError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
