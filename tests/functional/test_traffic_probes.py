"""An application's probes, moved to its sidecar by the injector, answer truthfully through a real Envoy."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.namespaces import GATEWAY, Namespace, redirect
from demo.processes import eventually, python, running
from demo.sidecar import Json, sidecar
from demo.stage import Stage
from osm_probes.admission.redirect import redirect_rules
from osm_probes.mesh.identity import ProxyName
from osm_probes.xds.app_probes import ProbeKind, ProbeScheme, RewrittenProbe
from osm_probes.xds.bootstrap import AdsTarget, bootstrap
from osm_probes.xds.names import controller_name
from osm_probes.xds.secrets import Secrets
from tests.functional.callers import ads_name, mesh_certificate

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.netns,
    pytest.mark.parametrize("whole", [()], indirect=True, ids=["probes"], scope="module"),
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
def probed(whole: Stage) -> Iterator[Namespace]:
    """A pod with redirect rules and a sidecar that has the probes; its application does not run yet."""
    with (
        whole.network.pod("probed", address=ADDRESS) as pod,
        sidecar(pod, envoy=whole.envoy, bootstrap=with_probes(whole), folder=whole.folder) as envoy,
    ):
        redirect(pod, rules=redirect_rules())
        envoy.until_live()
        yield pod


def with_probes(whole: Stage) -> Json:
    """The bookstore's bootstrap, with probes as the injector would have put them in."""
    name = ads_name(whole.control_plane.bootstrap("bookstore/bookstore-0"))
    own = mesh_certificate(whole.control_plane.ca_dir, name=name)
    root = (whole.control_plane.ca_dir / "ca.crt").read_bytes()
    made: Json = json.loads(
        bootstrap(
            ProxyName.parse(name, trust_domain="cluster.local"),
            trust_domain="cluster.local",
            ads=AdsTarget(GATEWAY, 15128, controller_name("osm-system")),
            secrets=Secrets(own.chain_pem, own.key_pem, root),
            probes=PROBES,
        )
    )
    return made


def answers(kubelet: Namespace) -> list[int]:
    """What a kubelet gets for each probe, from outside of the pod."""
    return [kubelet.request(f"http://{ADDRESS}:{each.listening_port}{each.listening_path}").status for each in PROBES]


def test_a_moved_probe_says_200_while_its_port_answers_and_503_otherwise(
    whole: Stage, probed: Namespace, tmp_path: Path
) -> None:
    kubelet = whole.network.hub
    dead = [503] * len(PROBES)
    alive = [200, 200, 200, 503, 503, 503, 200, 503]
    eventually(lambda: answers(kubelet) == dead, what="no application: 503", within=5)
    with running(probed.command(*python("demo.apps", "bookstore")), log=tmp_path / "app.log"):
        eventually(lambda: answers(kubelet) == alive, what="the application is up: 200", within=5)
    eventually(lambda: answers(kubelet) == dead, what="the application ended: 503", within=5)


def test_the_application_is_not_laid_open_on_the_probes_ports(whole: Stage, probed: Namespace, tmp_path: Path) -> None:
    with running(probed.command(*python("demo.apps", "bookstore")), log=tmp_path / "app.log"):
        eventually(lambda: 200 in answers(whole.network.hub), what="the application is up", within=5)
        assert whole.network.hub.request(f"http://{ADDRESS}:15901/books").status == 404
