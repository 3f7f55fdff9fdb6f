"""A commit -> the version of the project at that commit: its chart, and its images.

Sources and images are kept in the user's cache, by the commit's name, because they never change.
"""

import io
import os
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tests.e2e.images import ENVOY_IMAGE
from tools.images import IMAGES, INIT, PROGRAMS, ROOT, Builder, Image

PREVIOUS: Final = "7bbcc9aee937a04a99867076dc5f27496386201a"
"""The last commit before proxies' uuids and their Secrets had a proof."""


class NoHistoryError(Exception):
    """This clone does not have the commit."""


@dataclass(frozen=True, slots=True)
class PreviousVersion:
    """The project at a commit. source: the folder with its sources."""

    commit: str
    source: Path

    @property
    def chart(self) -> Path:
        """The folder of its chart."""
        return self.source / "charts" / "osm"

    @property
    def images(self) -> tuple[Image, ...]:
        """Its images. Their tag is the commit's name."""
        return tuple(self._image(image) for image in IMAGES)

    @property
    def values(self) -> dict[str, Any]:
        """The values of its chart, with its images."""
        programs = {"repository": PROGRAMS.tag.rpartition(":")[0], "tag": self.commit}
        return {"image": programs, "sidecar": {"image": ENVOY_IMAGE, "initImage": self._image(INIT).tag}}

    def archives(self, by: Builder, folder: Path) -> list[Path]:
        """Build the images that this machine does not have, and return the archives of all. Raises NoImageError."""
        for image in self.images:
            if not by.has(image.tag):
                by.build(image)
            by.save(image.tag, folder / f"{image.name}.tar")
        return [folder / f"{image.name}.tar" for image in self.images]

    def _image(self, image: Image) -> Image:
        return replace(image, source=self.source, version=self.commit)


def previous_version(commit: str = PREVIOUS) -> PreviousVersion:
    """The project at a commit of this clone's history. Raises NoHistoryError."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "osm-probes"
    source = cache / f"source-{commit[:16]}"
    if not source.exists():
        content = _archive(commit)
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder, tarfile.open(fileobj=io.BytesIO(content)) as archive:
            new = Path(folder, "source")
            archive.extractall(new, filter="data")
            new.rename(source)  # atomic: the sources are never incomplete
    return PreviousVersion(commit, source)


def _archive(commit: str) -> bytes:
    """The sources at a commit, as a tar archive. Raises NoHistoryError."""
    process = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=False)
    if process.returncode:
        raise NoHistoryError(
            f"commit {commit}, the version to upgrade from, is not in this clone: it needs the whole history, such as "
            f"by `git fetch --unshallow` ({process.stderr.decode().strip()})"
        )
    return process.stdout
