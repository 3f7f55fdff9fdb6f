"""Two real Envoys that our ADS configured carry requests over mTLS, and nobody else's."""

import json
import time
from collections.abc import Iterator

import pytest

from demo.namespaces import Namespace
from demo.processes import eventually
from demo.sidecar import Sidecar, sidecar
from demo.stage import BOOKSTORE_IP, Stage
from osm_probes.pki.certificate import Certificate
from tests.functional.callers import ads_name, foreign_certificate, mesh_certificate, over_tls, with_certificate

pytestmark = [pytest.mark.envoy, pytest.mark.netns]
CLUSTER = "bookstore/bookstore|80"


@pytest.fixture(scope="module")
def stranger(whole: Stage) -> Iterator[Namespace]:
    """A pod of the network without a sidecar."""
    with whole.network.pod("stranger", address="10.42.0.99") as pod:
        yield pod


def test_a_request_goes_from_app_to_app(whole: Stage) -> None:
    answer = whole.buy()
    assert answer.status == 200
    assert "The Mesh" in json.loads(answer.text)["books"]


def test_the_bookstore_is_told_by_its_sidecar_who_asks(whole: Stage) -> None:
    # Only a certificate that the other side has shown and that was verified gets there.
    assert json.loads(whole.buy().text)["caller"] == "bookbuyer.bookbuyer.cluster.local"


def test_between_the_sidecars_it_is_tls_1_3_with_a_certificate_from_both(whole: Stage) -> None:
    whole.buy()
    inbound = whole.bookstore.stats(r"^listener\.0\.0\.0\.0_15003\.ssl\.")
    outbound = whole.bookbuyer.stats(r"^cluster\.bookstore/bookstore.*\.ssl\.")
    assert inbound["listener.0.0.0.0_15003.ssl.handshake"] > 0
    assert inbound["listener.0.0.0.0_15003.ssl.versions.TLSv1.3"] > 0
    assert inbound["listener.0.0.0.0_15003.ssl.no_certificate"] == 0
    assert sum(value for name, value in outbound.items() if name.endswith("ssl.handshake")) > 0


@pytest.mark.usefixtures("whole")
def test_a_pod_without_a_sidecar_gets_no_answer_in_plain_http(stranger: Namespace) -> None:
    with pytest.raises(ConnectionError):
        stranger.request(f"http://{BOOKSTORE_IP}:14001/books")


def test_a_caller_with_a_certificate_of_the_mesh_is_let_in(whole: Stage, stranger: Namespace) -> None:
    certificate = mesh_certificate(whole.control_plane.ca_dir)
    assert b"The Mesh" in over_tls(stranger, certificate=certificate)


@pytest.mark.parametrize("certificate", [foreign_certificate(), None], ids=["of another CA", "none"])
def test_a_caller_with_another_certificate_or_none_is_refused(
    stranger: Namespace, certificate: Certificate | None
) -> None:
    with pytest.raises(OSError, match=r"(?i)alert|reset|eof"):
        over_tls(stranger, certificate=certificate)


def test_an_envoy_with_a_certificate_of_another_ca_gets_no_configuration(whole: Stage, stranger: Namespace) -> None:
    bootstrap = whole.control_plane.bootstrap("bookbuyer/bookbuyer-0", *whole.flags)
    foreign = with_certificate(bootstrap, foreign_certificate(ads_name(bootstrap)))
    with sidecar(stranger, envoy=whole.envoy, bootstrap=foreign, folder=whole.folder) as third:
        eventually(lambda: ads_refusals(third) >= 2, what="the ADS refuses twice", within=15, process=third.process)
        assert third.stat("listener_manager.lds.update_success") == 0
        assert third.stat("cluster_manager.cds.update_success") == 0
        assert "dynamic_active_clusters" not in third.configuration()["ClustersConfigDump"]


def test_the_same_envoy_with_a_certificate_of_the_mesh_gets_its_configuration(
    whole: Stage, stranger: Namespace
) -> None:
    bootstrap = whole.control_plane.bootstrap("bookbuyer/bookbuyer-0", *whole.flags)
    renewed = mesh_certificate(whole.control_plane.ca_dir, name=ads_name(bootstrap))
    own = with_certificate(bootstrap, renewed)
    with sidecar(stranger, envoy=whole.envoy, bootstrap=own, folder=whole.folder) as third:
        third.until_live()
        assert third.stat("listener_manager.lds.update_success") > 0


def ads_refusals(envoy: Sidecar) -> int:
    """How often a connection of Envoy to the ADS was ended by the other side."""
    return envoy.stat("cluster.osm-controller.upstream_cx_destroy_remote")


# Last of its stage: the mesh is another one afterwards.
def test_an_added_endpoint_is_in_envoy_within_a_second(whole: Stage) -> None:
    assert whole.bookbuyer.endpoints(CLUSTER) == {f"{BOOKSTORE_IP}:14001"}
    begun = time.monotonic()
    whole.control_plane.mesh.add_endpoint("bookstore", address="10.42.0.13")
    eventually(
        lambda: "10.42.0.13:14001" in whole.bookbuyer.endpoints(CLUSTER), what="the endpoint is in Envoy", within=10
    )
    took = time.monotonic() - begun
    print(f"an added endpoint was in Envoy after {took * 1000:.0f} ms")
    assert took < 1.0
