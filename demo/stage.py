"""Everything of the demo in place: a controller, and bookbuyer and bookstore with a sidecar each."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from demo.control_plane import ControlPlane, control_plane
from demo.mesh import MeshFolder
from demo.namespaces import Answer, Namespace, Network, network, redirect
from demo.processes import eventually, python, running
from demo.shopping import Shopping
from demo.sidecar import Sidecar, sidecar
from osm_probes.admission.redirect import redirect_rules

BOOKS: Final = "http://bookstore.bookstore/books"
CLUSTER_IP: Final = "10.96.0.12"
BOOKBUYER_IP: Final = "10.42.0.11"
BOOKSTORE_IP: Final = "10.42.0.12"


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs while the block of `stage` lasts. `folder` has the logs; `flags` go to `osm proxy bootstrap`."""

    envoy: Path
    folder: Path
    network: Network
    control_plane: ControlPlane
    flags: tuple[str, ...]
    bookbuyer: Sidecar
    bookstore: Sidecar

    def buy(self) -> Answer:
        """One request from the bookbuyer's pod, by name, through both sidecars."""
        return self.bookbuyer.pod.request(f"http://{CLUSTER_IP}/books", host="bookstore.bookstore")

    @contextlib.contextmanager
    def shopping(self, *, rate: float, address: str = CLUSTER_IP) -> Iterator[Shopping]:
        """The bookbuyer's app asks `rate` times a second at this cluster IP."""
        ask = python("demo.apps", "bookbuyer", BOOKS, "--address", address, "--rate", rate)
        log = self.folder / f"shopping-{address}.log"
        with running(self.bookbuyer.pod.command(*ask), log=log) as process:
            yield Shopping(process)


@contextlib.contextmanager
def stage(*, envoy: Path, flags: tuple[str, ...] = (), validity: str = "24h") -> Iterator[Stage]:
    """Put everything in place; take it away after the block. `validity`: of the proxies' certificates."""
    with contextlib.ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="osm-demo-")))
        folder.chmod(0o711)  # Envoy's user reads its own file in it
        net = opened.enter_context(network())
        mesh = MeshFolder(folder / "mesh")
        mesh.set_certificate_validity(validity)
        buyer, store = (
            opened.enter_context(net.pod("bookbuyer", address=BOOKBUYER_IP)),
            opened.enter_context(net.pod("bookstore", address=BOOKSTORE_IP)),
        )
        controller = opened.enter_context(control_plane(net.hub, mesh=mesh, folder=folder))
        sell = store.command(*python("demo.apps", "bookstore"))
        opened.enter_context(running(sell, log=folder / "bookstore.app.log"))

        def with_sidecar(pod: Namespace, name: str) -> Sidecar:
            redirect(pod, rules=redirect_rules())
            bootstrap = controller.bootstrap(name, *flags)
            return opened.enter_context(sidecar(pod, envoy=envoy, bootstrap=bootstrap, folder=folder))

        whole = Stage(
            envoy,
            folder,
            net,
            controller,
            flags,
            with_sidecar(buyer, "bookbuyer/bookbuyer-0"),
            with_sidecar(store, "bookstore/bookstore-0"),
        )
        whole.bookbuyer.until_live()
        whole.bookstore.until_live()
        eventually(lambda: whole.buy().status == 200, what="a request goes through", within=10)
        yield whole
