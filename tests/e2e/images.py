"""Programs and Dockerfiles -> archives of the images that the cluster's pods use."""

from pathlib import Path
from typing import Final

from tests.e2e.configuration import PAUSE_IMAGE
from tools.envoy_binary import envoy_binary
from tools.images import IMAGES, PROGRAMS, Builder, builder
from tools.node_binaries import pod_binaries

DNS_IMAGE: Final = "localhost/coredns:1"
ENVOY_IMAGE: Final = "localhost/envoy:1"
APPS_IMAGE: Final = "localhost/apps:1"
_DEMO: Final = Path(__file__).parents[2] / "demo"


def archives(folder: Path) -> dict[str, Path]:
    """Build all images, the project's and the cluster's own, and return their archives by image name."""
    by = builder()
    for image in IMAGES:
        by.build(image)
    programs = pod_binaries()
    by.assemble(PAUSE_IMAGE, 'FROM scratch\nCOPY pause /\nENTRYPOINT ["/pause"]\n', programs / "pause")
    by.assemble(DNS_IMAGE, 'FROM scratch\nCOPY coredns /\nENTRYPOINT ["/coredns"]\n', programs / "coredns")
    # Based on the programs' image: Envoy needs its libraries, the applications its Python.
    by.assemble(ENVOY_IMAGE, f"FROM {PROGRAMS.tag}\nCOPY envoy /usr/local/bin/\n", envoy_binary())
    apps = [_DEMO / "apps.py", _DEMO / "switch_user.py"]
    by.assemble(APPS_IMAGE, f"FROM {PROGRAMS.tag}\nCOPY *.py /apps/demo/\nWORKDIR /apps\nUSER 0\n", *apps)
    tags = [*(image.tag for image in IMAGES), PAUSE_IMAGE, DNS_IMAGE, ENVOY_IMAGE, APPS_IMAGE]
    return {tag: _save(by, tag, folder / f"{number}.tar") for number, tag in enumerate(tags)}


def _save(by: Builder, tag: str, file: Path) -> Path:
    by.save(tag, file)
    return file
