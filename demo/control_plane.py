"""The demo's osm-controller: start it, kill it, start it again, and make bootstraps that point to it."""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from demo.mesh import MeshFolder
from demo.namespaces import GATEWAY, GATEWAY_IPV6, Namespace, run
from demo.processes import Process, eventually

ADS: Final = f"{GATEWAY}:15128"
ADS_IPV6: Final = f"[{GATEWAY_IPV6}]:15128"
PROBES: Final = "http://127.0.0.1:9091"
_PROGRAMS: Final = Path(sys.executable).parent
Json = dict[str, Any]


class ControlPlane:
    """An osm-controller in the network's hub namespace. It is started when the object is created."""

    def __init__(self, hub: Namespace, *, mesh: MeshFolder, folder: Path) -> None:
        self.hub = hub
        self.mesh = mesh
        self.ca_dir = folder / "ca"
        self._log = folder / "controller.log"
        self.process = self._launch()

    def start(self) -> None:
        """Start osm-controller again after it exited, and wait until it is ready. Raises DemoError."""
        self.process = self._launch()
        self.until_ready()

    def until_ready(self) -> None:
        """Wait until osm-controller is ready. Raises DemoError."""
        eventually(self.ready, what="osm-controller is ready", within=20, process=self.process)

    def ready(self) -> bool:
        """Whether /health/ready returns 200. Raises OSError if it does not respond."""
        return self.hub.request(f"{PROBES}/health/ready").status == 200

    def probe_port_free(self) -> bool:
        """Whether no process listens on the probes' port."""
        try:
            self.hub.connect("127.0.0.1", 9091).close()
        except OSError:
            return True
        return False

    def kill(self) -> None:
        """Kill osm-controller without a shutdown, and wait until its ports are free."""
        self.process.kill()
        eventually(self.probe_port_free, what="the ports of the killed controller are free", within=5)

    def bootstrap(self, pod: str, *flags: str) -> Json:
        """The output of `osm proxy bootstrap` for a pod. `pod`: `namespace/name`; the last of equal flags counts."""
        folders = ("--mesh-dir", str(self.mesh.path), "--ca-dir", str(self.ca_dir))
        text = run(str(_PROGRAMS / "osm"), "proxy", "bootstrap", pod, *folders, "--ads-address", ADS, *flags)
        bootstrap: Json = json.loads(text)
        return bootstrap

    def _launch(self) -> Process:
        folders = ("--mesh-dir", str(self.mesh.path), "--ca-dir", str(self.ca_dir))
        flags = ("--drain-delay", "500ms")  # there are no Service endpoints that must propagate first
        return Process(self.hub.command(str(_PROGRAMS / "osm-controller"), *folders, *flags), log=self._log)


@contextlib.contextmanager
def control_plane(hub: Namespace, *, mesh: MeshFolder, folder: Path) -> Iterator[ControlPlane]:
    """A ready osm-controller, for the duration of the block."""
    controller = ControlPlane(hub, mesh=mesh, folder=folder)
    try:
        controller.until_ready()
        yield controller
    finally:
        controller.process.stop(grace=15.0)
