"""Certificates are renewed repeatedly under load, and no request is lost."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.processes import eventually
from demo.sidecar import Sidecar
from demo.testbed import MeshTestbed, running_testbed
from tests.functional.conftest import XDS_VARIANTS

pytestmark = [pytest.mark.envoy, pytest.mark.netns]
RAW_IP = "10.96.0.13"
RAW_CLUSTER = "bookstore/bookstore-raw|80"
RATE = 200.0
RAW_RATE = 50.0
VALIDITY = 6  # seconds; certificates are renewed after two thirds, 4 s
DURATION = 14.0
RENEWALS = 3


@pytest.fixture(params=XDS_VARIANTS)
def short_lived(request: pytest.FixtureRequest, envoy: Path) -> Iterator[MeshTestbed]:
    """A testbed with certificates that are valid for seconds, and with the bookstore as a TCP service too.

    HTTP requests share connections between the sidecars, and these outlive the certificates. Each TCP connection of the
    application opens a new connection between the sidecars, so its handshake uses the current certificate.
    """
    flags: tuple[str, ...] = request.param
    with running_testbed(envoy=envoy, flags=flags, validity=f"{VALIDITY}s") as testbed:
        testbed.control_plane.mesh.add_service("bookstore-raw", like="bookstore", address=RAW_IP, protocol="tcp")
        raw = f"http://{RAW_IP}/books"
        eventually(lambda: testbed.bookbuyer.pod.request(raw).status == 200, what="the TCP service answers", within=10)
        yield testbed


def full_handshakes(bookbuyer: Sidecar) -> int:
    """The TCP service's TLS handshakes that exchanged certificates instead of resuming a session."""
    stats = bookbuyer.stats(r"ssl\.(handshake|session_reused)$")
    return stats[f"cluster.{RAW_CLUSTER}.ssl.handshake"] - stats[f"cluster.{RAW_CLUSTER}.ssl.session_reused"]


def test_renewals_of_certificates_under_load_lose_no_request(short_lived: MeshTestbed) -> None:
    sidecars = (short_lived.bookbuyer, short_lived.bookstore)
    serials_seen: list[set[str]] = [set(), set()]
    handshakes = full_handshakes(short_lived.bookbuyer)
    with short_lived.load(rate=RATE) as http, short_lived.load(rate=RAW_RATE, address=RAW_IP) as raw:
        end = time.monotonic() + DURATION
        while time.monotonic() < end:
            for serials, sidecar in zip(serials_seen, sidecars, strict=True):
                serials.update(sidecar.serials())
            # The ADS's own certificate is renewed at the same rate.
            assert short_lived.control_plane.ready()
            time.sleep(0.25)
        results = [http.finish(), raw.finish()]
    handshakes = full_handshakes(short_lived.bookbuyer) - handshakes
    print(f"{results}, serials: {[len(serials) for serials in serials_seen]}, full handshakes: {handshakes}")
    assert [result.lost for result in results] == [0, 0], results
    assert results[0].rate == pytest.approx(RATE, rel=0.1)
    # The certificate for the ADS, the first one for the mesh, and its renewals.
    assert all(len(serials) >= 2 + RENEWALS for serials in serials_seen)
    assert handshakes >= RENEWALS
