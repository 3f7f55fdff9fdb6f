from osm_probes.foundation.backoff import Backoff


def test_pauses_double_up_to_a_bound_and_begin_anew_after_a_success() -> None:
    backoff = Backoff(first=1.0, most=4.0, chance=lambda: 1.0)
    assert [backoff.pause() for _ in range(4)] == [1.0, 2.0, 4.0, 4.0]
    backoff.reset()
    assert backoff.pause() == 1.0


def test_a_pause_is_at_least_half_so_that_not_all_come_at_once() -> None:
    assert Backoff(first=1.0, chance=lambda: 0.0).pause() == 0.5


def test_what_the_other_side_asks_for_is_kept_within_reason() -> None:
    backoff = Backoff(first=1.0, chance=lambda: 1.0)
    assert backoff.pause(at_least=7.0) == 7.0
    assert backoff.pause(at_least=1e6) == 60.0
