from osm_probes.ads.limits import Limits, channel_options


def test_stream_ages_are_spread_around_the_limit_and_bounded() -> None:
    limits = Limits(stream_age=100)
    ages = [limits.jittered_stream_age(iter((draw,)).__next__) for draw in (0.0, 0.5, 1.0)]
    assert ages == [80, 100, 120]
    assert limits.longest_stream_age == 120


def test_two_processes_cannot_share_the_port() -> None:
    assert dict(channel_options(Limits()))["grpc.so_reuseport"] == 0
