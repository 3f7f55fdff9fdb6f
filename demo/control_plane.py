"""The controller of the demo: started, killed and started again; and the bootstraps that point at it."""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from demo.mesh import MeshFolder
from demo.namespaces import GATEWAY, Namespace, run
from demo.processes import Process, eventually

ADS: Final = f"{GATEWAY}:15128"
PROBES: Final = "http://127.0.0.1:9091"
_PROGRAMS: Final = Path(sys.executable).parent
Json = dict[str, Any]


class ControlPlane:
    """osm-controller in the hub of the network, with its folders; it runs from here on."""

    def __init__(self, hub: Namespace, *, mesh: MeshFolder, folder: Path) -> None:
        self.hub = hub
        self.mesh = mesh
        self.ca_dir = folder / "ca"
        self._log = folder / "controller.log"
        self.process = self._launch()

    def start(self) -> None:
        """Start another one in the place of one that ended, and wait until it is ready. Raises DemoError."""
        self.process = self._launch()
        self.until_ready()

    def until_ready(self) -> None:
        """Wait until it is ready. Raises DemoError."""
        eventually(self.ready, what="the controller is ready", within=20, process=self.process)

    def ready(self) -> bool:
        """Whether /health/ready says 200. Raises OSError where nobody answers."""
        return self.hub.request(f"{PROBES}/health/ready").status == 200

    def silent(self) -> bool:
        """Whether nobody listens on the probes' port."""
        try:
            self.hub.connect("127.0.0.1", 9091).close()
        except OSError:
            return True
        return False

    def kill(self) -> None:
        """End it as a crash would, and wait until its ports are free."""
        self.process.kill()
        eventually(self.silent, what="the ports of a killed controller are free", within=5)

    def bootstrap(self, pod: str, *flags: str) -> Json:
        """What `osm proxy bootstrap` prints for a pod, as `namespace/pod`."""
        folders = ("--mesh-dir", str(self.mesh.path), "--ca-dir", str(self.ca_dir))
        text = run(str(_PROGRAMS / "osm"), "proxy", "bootstrap", pod, *folders, "--ads-address", ADS, *flags)
        bootstrap: Json = json.loads(text)
        return bootstrap

    def _launch(self) -> Process:
        folders = ("--mesh-dir", str(self.mesh.path), "--ca-dir", str(self.ca_dir))
        flags = ("--drain-delay", "500ms")  # nobody has to learn that it goes
        return Process(self.hub.command(str(_PROGRAMS / "osm-controller"), *folders, *flags), log=self._log)


@contextlib.contextmanager
def control_plane(hub: Namespace, *, mesh: MeshFolder, folder: Path) -> Iterator[ControlPlane]:
    """A controller that is ready, while the block lasts."""
    controller = ControlPlane(hub, mesh=mesh, folder=folder)
    try:
        controller.until_ready()
        yield controller
    finally:
        controller.process.stop(grace=15.0)
