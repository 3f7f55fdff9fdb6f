"""Two real Envoys, configured by the ADS, carry requests over mTLS and refuse callers from outside the mesh."""

import json
import time
from collections.abc import Iterator

import pytest

from demo.namespaces import Namespace
from demo.processes import eventually
from demo.sidecar import Sidecar, sidecar
from demo.testbed import BOOKSTORE_IP, MeshTestbed
from osm_probes.pki.certificate import Certificate
from tests.functional.callers import ads_name, foreign_certificate, mesh_certificate, over_tls, with_certificate

pytestmark = [pytest.mark.envoy, pytest.mark.netns]
CLUSTER = "bookstore/bookstore|80"


@pytest.fixture(scope="module")
def stranger(testbed: MeshTestbed) -> Iterator[Namespace]:
    """A pod on the network without a sidecar."""
    with testbed.network.pod("stranger", address="10.42.0.99") as pod:
        yield pod


def test_the_bookbuyer_gets_a_response_from_the_bookstore(testbed: MeshTestbed) -> None:
    response = testbed.request_books()
    assert response.status == 200
    assert "The Mesh" in json.loads(response.text)["books"]


def test_the_sidecar_passes_the_callers_identity_to_the_bookstore(testbed: MeshTestbed) -> None:
    # Envoy puts the identity into the header only if it verified the caller's certificate.
    assert json.loads(testbed.request_books().text)["caller"] == "bookbuyer.bookbuyer.cluster.local"


def test_the_sidecars_use_tls_1_3_with_certificates_on_both_sides(testbed: MeshTestbed) -> None:
    testbed.request_books()
    inbound = testbed.bookstore.stats(r"^listener\.0\.0\.0\.0_15003\.ssl\.")
    outbound = testbed.bookbuyer.stats(r"^cluster\.bookstore/bookstore.*\.ssl\.")
    assert inbound["listener.0.0.0.0_15003.ssl.handshake"] > 0
    assert inbound["listener.0.0.0.0_15003.ssl.versions.TLSv1.3"] > 0
    assert inbound["listener.0.0.0.0_15003.ssl.no_certificate"] == 0
    assert sum(value for name, value in outbound.items() if name.endswith("ssl.handshake")) > 0


@pytest.mark.usefixtures("testbed")
def test_a_plain_http_request_from_a_pod_without_a_sidecar_gets_no_response(stranger: Namespace) -> None:
    with pytest.raises(ConnectionError):
        stranger.request(f"http://{BOOKSTORE_IP}:14001/books")


def test_a_caller_with_a_certificate_of_the_mesh_is_accepted(testbed: MeshTestbed, stranger: Namespace) -> None:
    certificate = mesh_certificate(testbed.control_plane.ca_dir)
    assert b"The Mesh" in over_tls(stranger, certificate=certificate)


@pytest.mark.parametrize("certificate", [foreign_certificate(), None], ids=["of another CA", "none"])
def test_a_caller_with_a_certificate_of_another_ca_or_without_one_is_refused(
    stranger: Namespace, certificate: Certificate | None
) -> None:
    with pytest.raises(OSError, match=r"(?i)alert|reset|eof"):
        over_tls(stranger, certificate=certificate)


def test_an_envoy_with_a_certificate_of_another_ca_gets_no_configuration(
    testbed: MeshTestbed, stranger: Namespace
) -> None:
    bootstrap = testbed.control_plane.bootstrap("bookbuyer/bookbuyer-0", *testbed.flags)
    foreign = with_certificate(bootstrap, foreign_certificate(ads_name(bootstrap)))
    with sidecar(stranger, envoy=testbed.envoy, bootstrap=foreign, folder=testbed.folder) as third:
        eventually(lambda: ads_refusals(third) >= 2, what="the ADS refuses twice", within=15, process=third.process)
        assert third.stat("listener_manager.lds.update_success") == 0
        assert third.stat("cluster_manager.cds.update_success") == 0
        assert "dynamic_active_clusters" not in third.configuration()["ClustersConfigDump"]


def test_the_same_envoy_with_a_certificate_of_the_mesh_gets_its_configuration(
    testbed: MeshTestbed, stranger: Namespace
) -> None:
    bootstrap = testbed.control_plane.bootstrap("bookbuyer/bookbuyer-0", *testbed.flags)
    renewed = mesh_certificate(testbed.control_plane.ca_dir, name=ads_name(bootstrap))
    own = with_certificate(bootstrap, renewed)
    with sidecar(stranger, envoy=testbed.envoy, bootstrap=own, folder=testbed.folder) as third:
        third.until_live()
        assert third.stat("listener_manager.lds.update_success") > 0


def ads_refusals(envoy: Sidecar) -> int:
    """How often the ADS closed a connection of this Envoy."""
    return envoy.stat("cluster.osm-controller.upstream_cx_destroy_remote")


# The last test of this module, because it changes the mesh.
def test_envoy_has_an_added_endpoint_within_a_second(testbed: MeshTestbed) -> None:
    assert testbed.bookbuyer.endpoints(CLUSTER) == {f"{BOOKSTORE_IP}:14001"}
    start = time.monotonic()
    testbed.control_plane.mesh.add_endpoint("bookstore", address="10.42.0.13")
    eventually(
        lambda: "10.42.0.13:14001" in testbed.bookbuyer.endpoints(CLUSTER), what="Envoy has the endpoint", within=10
    )
    duration = time.monotonic() - start
    print(f"Envoy had the added endpoint after {duration * 1000:.0f} ms")
    assert duration < 1.0
