"""Programs and Dockerfiles -> the images of the cluster's pods, as archives that the node takes up."""

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
    """Archives, by name, of all images that pods here use: the project's own, built now, and the cluster's."""
    by = builder()
    for image in IMAGES:
        by.build(image)
    programs = pod_binaries()
    by.assemble(PAUSE_IMAGE, 'FROM scratch\nCOPY pause /\nENTRYPOINT ["/pause"]\n', programs / "pause")
    by.assemble(DNS_IMAGE, 'FROM scratch\nCOPY coredns /\nENTRYPOINT ["/coredns"]\n', programs / "coredns")
    # On the image of the programs: Envoy for its libraries, the applications for its Python.
    by.assemble(ENVOY_IMAGE, f"FROM {PROGRAMS.tag}\nCOPY envoy /usr/local/bin/\n", envoy_binary())
    apps = [_DEMO / "apps.py", _DEMO / "become.py"]
    by.assemble(APPS_IMAGE, f"FROM {PROGRAMS.tag}\nCOPY *.py /apps/demo/\nWORKDIR /apps\nUSER 0\n", *apps)
    tags = [*(each.tag for each in IMAGES), PAUSE_IMAGE, DNS_IMAGE, ENVOY_IMAGE, APPS_IMAGE]
    return {tag: _saved(by, tag, folder / f"{number}.tar") for number, tag in enumerate(tags)}


def _saved(by: Builder, tag: str, file: Path) -> Path:
    by.save(tag, file)
    return file
