from osm_probes.foundation.backoff import Backoff


def test_pauses_double_up_to_a_limit_and_start_again_after_a_success() -> None:
    backoff = Backoff(first=1.0, most=4.0, chance=lambda: 1.0)
    assert [backoff.pause() for _ in range(4)] == [1.0, 2.0, 4.0, 4.0]
    backoff.reset()
    assert backoff.pause() == 1.0


def test_jitter_shortens_a_pause_by_half_at_most() -> None:
    assert Backoff(first=1.0, chance=lambda: 0.0).pause() == 0.5


def test_a_retry_after_is_respected_up_to_a_minute() -> None:
    backoff = Backoff(first=1.0, chance=lambda: 1.0)
    assert backoff.pause(at_least=7.0) == 7.0
    assert backoff.pause(at_least=1e6) == 60.0
