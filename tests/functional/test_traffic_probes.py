"""An application's probes, rewritten to go through its sidecar, return the application's true state."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.namespaces import GATEWAY, Namespace, redirect
from demo.processes import eventually, python, running
from demo.sidecar import Json, sidecar
from demo.testbed import MeshTestbed
from osm_probes.admission.redirect import redirect_rules
from osm_probes.mesh.identity import ProxyName
from osm_probes.mesh.names import controller_server_name
from osm_probes.xds.app_probes import ProbeKind, ProbeScheme, RewrittenProbe
from osm_probes.xds.bootstrap import AdsTarget, build_bootstrap
from osm_probes.xds.secrets import Secrets
from tests.functional.callers import ads_name, mesh_certificate

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.netns,
    pytest.mark.parametrize("testbed", [()], indirect=True, ids=["probes"], scope="module"),
]
ADDRESS = "10.42.0.98"
OPEN, CLOSED = 14001, 14002
KINDS = (ProbeKind.LIVENESS, ProbeKind.READINESS, ProbeKind.STARTUP)
PROBES = [
    *(RewrittenProbe(kind, "books", ProbeScheme.HTTP, OPEN, path="/books") for kind in KINDS),
    *(RewrittenProbe(kind, "gone", ProbeScheme.HTTP, CLOSED, path="/books") for kind in KINDS),
    RewrittenProbe(ProbeKind.LIVENESS, "books", ProbeScheme.TCP, OPEN),
    RewrittenProbe(ProbeKind.LIVENESS, "gone", ProbeScheme.TCP, CLOSED),
]


@pytest.fixture
def probed(testbed: MeshTestbed) -> Iterator[Namespace]:
    """A pod with redirect rules and a sidecar with the rewritten probes; its application is not running yet."""
    with (
        testbed.network.pod("probed", address=ADDRESS) as pod,
        sidecar(pod, envoy=testbed.envoy, bootstrap=with_probes(testbed), folder=testbed.folder) as envoy,
    ):
        redirect(pod, rules=redirect_rules())
        envoy.until_live()
        yield pod


def with_probes(testbed: MeshTestbed) -> Json:
    """The bookstore's bootstrap with the probes, as osm-injector makes it."""
    name = ads_name(testbed.control_plane.bootstrap("bookstore/bookstore-0"))
    own = mesh_certificate(testbed.control_plane.ca_dir, name=name)
    root = (testbed.control_plane.ca_dir / "ca.crt").read_bytes()
    document: Json = json.loads(
        build_bootstrap(
            ProxyName.parse(name, trust_domain="cluster.local"),
            trust_domain="cluster.local",
            ads=AdsTarget(GATEWAY, 15128, controller_server_name("osm-system")),
            secrets=Secrets(own.chain_pem, own.key_pem, root),
            app_probes=PROBES,
        )
    )
    return document


def statuses(kubelet: Namespace) -> list[int]:
    """The status that a kubelet outside the pod gets for each probe."""
    return [kubelet.request(f"http://{ADDRESS}:{probe.sidecar_port}{probe.sidecar_path}").status for probe in PROBES]


def test_a_rewritten_probe_returns_200_while_its_port_answers_and_503_otherwise(
    testbed: MeshTestbed, probed: Namespace, tmp_path: Path
) -> None:
    kubelet = testbed.network.hub
    dead = [503] * len(PROBES)
    alive = [200, 200, 200, 503, 503, 503, 200, 503]
    eventually(lambda: statuses(kubelet) == dead, what="no application: 503", within=5)
    with running(probed.command(*python("demo.apps", "bookstore")), log=tmp_path / "app.log"):
        eventually(lambda: statuses(kubelet) == alive, what="the application is up: 200", within=5)
    eventually(lambda: statuses(kubelet) == dead, what="the application exited: 503", within=5)


def test_other_paths_are_not_reachable_through_the_probe_ports(
    testbed: MeshTestbed, probed: Namespace, tmp_path: Path
) -> None:
    with running(probed.command(*python("demo.apps", "bookstore")), log=tmp_path / "app.log"):
        eventually(lambda: 200 in statuses(testbed.network.hub), what="the application is up", within=5)
        assert testbed.network.hub.request(f"http://{ADDRESS}:15901/books").status == 404
