from typing import Any

from osm_probes.foundation.rate_limited_log import RateLimitedLog
from tests.clock import Clock


def test_the_lines_of_a_period_are_limited_and_the_next_period_begins_with_their_count(
    lines: list[dict[str, Any]],
) -> None:
    clock = Clock(100.0)
    log = RateLimitedLog("ads", limit=3, clock=clock)
    for number in range(1000):
        clock.now += 0.01
        log.warning("refused", peer=number)
    assert [line["peer"] for line in lines] == [0, 1, 2]
    clock.now += 60
    log.error("refused", peer=1000)
    log.info("refused", peer=1001)
    assert [line.get("suppressed") for line in lines] == [None, None, None, 997, None]


def test_a_few_lines_a_period_are_all_written(lines: list[dict[str, Any]]) -> None:
    clock = Clock(100.0)
    log = RateLimitedLog("ads", limit=3, clock=clock)
    for number in range(9):
        clock.now += 21
        log.warning("refused", peer=number)
    assert [line["peer"] for line in lines] == list(range(9))
    assert not any("suppressed" in line for line in lines)
