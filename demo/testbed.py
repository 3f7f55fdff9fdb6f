"""The running demo: osm-controller, and bookbuyer and bookstore with a sidecar each."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from demo.control_plane import ADS_IPV6, ControlPlane, control_plane
from demo.load import Load
from demo.mesh import IpFamilies, MeshFolder, to_ipv6
from demo.namespaces import Answer, Namespace, Network, network, redirect
from demo.processes import eventually, python, running
from demo.sidecar import Sidecar, sidecar
from osm_probes.admission.redirect import redirect_rules

BOOKS: Final = "http://bookstore.bookstore/books"
CLUSTER_IP: Final = "10.96.0.12"
BOOKBUYER_IP: Final = "10.42.0.11"
BOOKSTORE_IP: Final = "10.42.0.12"


@dataclass(frozen=True, slots=True)
class MeshTestbed:
    """The running parts of the demo. folder: contains the logs. flags: extra flags for `osm proxy bootstrap`."""

    envoy: Path
    folder: Path
    network: Network
    control_plane: ControlPlane
    flags: tuple[str, ...]
    families: IpFamilies
    bookbuyer: Sidecar
    bookstore: Sidecar

    @property
    def service_url(self) -> str:
        """The URL of the bookstore's service, with its primary cluster IP."""
        return f"http://[{to_ipv6(CLUSTER_IP)}]" if self.families is IpFamilies.IPV6 else f"http://{CLUSTER_IP}"

    def request_books(self) -> Answer:
        """Send one request from the bookbuyer's pod to the bookstore's service, through both sidecars."""
        return self.bookbuyer.pod.request(f"{self.service_url}/books", host="bookstore.bookstore")

    @contextlib.contextmanager
    def load(self, *, rate: float, address: str = CLUSTER_IP) -> Iterator[Load]:
        """The bookbuyer sends `rate` requests per second to this cluster IP, for the duration of the block."""
        bookbuyer = python("demo.apps", "bookbuyer", BOOKS, "--address", address, "--rate", rate)
        log = self.folder / f"load-{address}.log"
        with running(self.bookbuyer.pod.command(*bookbuyer), log=log) as process:
            yield Load(process)


def addresses(address: str, families: IpFamilies) -> dict[str, str]:
    """The arguments of `Network.pod` for a pod with this IPv4 address and its counterpart, by families."""
    by_family = {4: {"address": address}, 6: {"ipv6": to_ipv6(address)}}
    return {name: value for family in families.value for name, value in by_family[family].items()}


@contextlib.contextmanager
def running_testbed(
    *,
    envoy: Path,
    flags: tuple[str, ...] = (),
    validity: str = "24h",
    families: IpFamilies = IpFamilies.IPV4,
) -> Iterator[MeshTestbed]:
    """Start all parts of the demo, and stop and remove them after the block.

    validity: how long the proxies' certificates are valid, in MeshConfig's format.
    """
    with contextlib.ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="osm-demo-")))
        folder.chmod(0o711)  # Envoy's user must be able to reach its bootstrap file
        net = opened.enter_context(network())
        mesh = MeshFolder(folder / "mesh")
        mesh.set_certificate_validity(validity)
        if families is not IpFamilies.IPV4:
            mesh.set_ip_families(families)
        if families is IpFamilies.IPV6:
            flags += ("--ads-address", ADS_IPV6)
        buyer, store = (
            opened.enter_context(net.pod("bookbuyer", **addresses(BOOKBUYER_IP, families))),
            opened.enter_context(net.pod("bookstore", **addresses(BOOKSTORE_IP, families))),
        )
        controller = opened.enter_context(control_plane(net.hub, mesh=mesh, folder=folder))
        bookstore = store.command(*python("demo.apps", "bookstore"))
        opened.enter_context(running(bookstore, log=folder / "bookstore.app.log"))

        def with_sidecar(pod: Namespace, name: str) -> Sidecar:
            redirect(pod, rules=redirect_rules())
            bootstrap = controller.bootstrap(name, *flags)
            return opened.enter_context(sidecar(pod, envoy=envoy, bootstrap=bootstrap, folder=folder))

        testbed = MeshTestbed(
            envoy,
            folder,
            net,
            controller,
            flags,
            families,
            with_sidecar(buyer, "bookbuyer/bookbuyer-0"),
            with_sidecar(store, "bookstore/bookstore-0"),
        )
        testbed.bookbuyer.until_live()
        testbed.bookstore.until_live()
        eventually(lambda: testbed.request_books().status == 200, what="a request succeeds", within=10)
        yield testbed
