"""Certificates are renewed under load, again and again, and no request is lost."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.processes import eventually
from demo.sidecar import Sidecar
from demo.stage import Stage, stage
from tests.functional.conftest import WAYS

pytestmark = [pytest.mark.envoy, pytest.mark.netns]
RAW_IP = "10.96.0.13"
RAW_CLUSTER = "bookstore/bookstore-raw|80"
RATE = 200.0
RAW_RATE = 50.0
LIFE = 6  # seconds; two thirds are over after 4
LONG = 14.0
RENEWALS = 3


@pytest.fixture(params=WAYS)
def short_lived(request: pytest.FixtureRequest, envoy: Path) -> Iterator[Stage]:
    """As `whole`, with certificates that live for seconds, and the bookstore as a TCP service too.

    HTTP requests share connections between the sidecars that outlive their certificates. Each TCP connection of the
    app is one between the sidecars: there the certificate of the moment must do.
    """
    flags: tuple[str, ...] = request.param
    with stage(envoy=envoy, flags=flags, validity=f"{LIFE}s") as made:
        made.control_plane.mesh.add_service("bookstore-raw", like="bookstore", address=RAW_IP, protocol="tcp")
        raw = f"http://{RAW_IP}/books"
        eventually(lambda: made.bookbuyer.pod.request(raw).status == 200, what="the TCP service answers", within=10)
        yield made


def full_handshakes(bookbuyer: Sidecar) -> int:
    """Handshakes of the TCP service in which certificates were shown, not a ticket."""
    stats = bookbuyer.stats(r"ssl\.(handshake|session_reused)$")
    return stats[f"cluster.{RAW_CLUSTER}.ssl.handshake"] - stats[f"cluster.{RAW_CLUSTER}.ssl.session_reused"]


def test_a_rotation_of_certificates_under_load_loses_no_request(short_lived: Stage) -> None:
    sidecars = (short_lived.bookbuyer, short_lived.bookstore)
    seen: list[set[str]] = [set(), set()]
    handshakes = full_handshakes(short_lived.bookbuyer)
    with short_lived.shopping(rate=RATE) as http, short_lived.shopping(rate=RAW_RATE, address=RAW_IP) as raw:
        end = time.monotonic() + LONG
        while time.monotonic() < end:
            for serials, sidecar in zip(seen, sidecars, strict=True):
                serials.update(sidecar.serials())
            # The ADS's own certificate is renewed as often.
            assert short_lived.control_plane.ready()
            time.sleep(0.25)
        receipts = [http.finish(), raw.finish()]
    handshakes = full_handshakes(short_lived.bookbuyer) - handshakes
    print(f"{receipts}, certificates seen: {[len(serials) for serials in seen]}, full handshakes: {handshakes}")
    assert [receipt.lost for receipt in receipts] == [0, 0], receipts
    assert receipts[0].rate == pytest.approx(RATE, rel=0.1)
    # The one for the ADS, the first for the mesh, and its renewals.
    assert all(len(serials) >= 2 + RENEWALS for serials in seen)
    assert handshakes >= RENEWALS
