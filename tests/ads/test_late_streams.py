from dataclasses import dataclass

from osm_probes.ads.late_streams import LateStreams
from osm_probes.mesh.identity import ProxyName
from tests.ads.client import proxy_name
from tests.clock import Clock


@dataclass
class FakeStream:
    """late_after: see `StreamProgress`."""

    late_after: int | None = None


def test_a_stream_is_late_since_it_was_seen_behind_at_the_same_version() -> None:
    clock = Clock()
    late = LateStreams(clock=clock)
    one, two = FakeStream(), FakeStream()
    streams: list[tuple[ProxyName, FakeStream]] = [(proxy_name(), one), (proxy_name(), two)]
    assert late.longest(streams) == 0
    one.late_after = 1
    assert late.longest(streams) == 0
    clock.now = 4
    two.late_after = 7
    assert late.longest(streams) == 4
    clock.now = 6
    one.late_after = 2  # it has processed a newer one, and there is a newer one again
    assert late.longest(streams) == 2
    two.late_after = None  # up to date, or its proxy does not read
    clock.now = 9
    assert late.longest(streams) == 3


def test_ended_streams_are_forgotten() -> None:
    clock = Clock()
    late = LateStreams(clock=clock)
    name = proxy_name()
    late.longest([(name, FakeStream(1))])
    clock.now = 5
    assert late.longest([]) == 0
    assert late.longest([(name, FakeStream(1))]) == 0
