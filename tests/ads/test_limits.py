from osm_probes.ads.limits import Limits, channel_options


def test_ages_are_spread_around_the_limit_and_never_above_the_grace() -> None:
    limits = Limits(stream_age=100)
    assert (limits.age(lambda: 0.0), limits.age(lambda: 0.5), limits.age(lambda: 1.0)) == (80, 100, 120)
    assert limits.grace == 120


def test_the_port_is_not_shared() -> None:
    assert dict(channel_options(Limits()))["grpc.so_reuseport"] == 0
