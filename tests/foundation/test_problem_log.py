from typing import Any

from osm_probes.foundation.problem_log import ProblemLog, Repeat
from tests.clock import Clock


def line(level: str, message: str, **facts: object) -> dict[str, object]:
    return {"event": message, "log_level": level, "component": "pki", **facts}


def test_the_beginning_is_a_warning_and_the_end_is_an_info_with_the_duration(lines: list[dict[str, Any]]) -> None:
    clock = Clock(100.0)
    log = ProblemLog("pki", began="it fails", ended="it works again", clock=clock)
    assert log.update("refused", secret="a")
    clock.now = 107.5
    assert not log.update("", secret="a")
    assert lines == [
        line("warning", "it fails", error="refused", secret="a"),
        line("info", "it works again", after=7.5, secret="a"),
    ]


def test_no_problem_is_not_logged(lines: list[dict[str, Any]]) -> None:
    log = ProblemLog("pki", began="it fails", ended="it works again")
    log.update("")
    log.update("")
    assert lines == []


def test_a_lasting_problem_is_logged_once_even_if_its_text_changes(lines: list[dict[str, Any]]) -> None:
    log = ProblemLog("pki", began="it fails", ended="it works again")
    logged = [log.update(problem) for problem in ("refused", "refused", "timed out")]
    assert logged == [True, False, False]
    assert lines == [line("warning", "it fails", error="refused")]


def test_a_changed_problem_is_logged_again_on_request(lines: list[dict[str, Any]]) -> None:
    log = ProblemLog("pki", began="it fails", ended="it works again", repeat=Repeat.WHEN_CHANGED)
    logged = [log.update(problem) for problem in ("refused", "refused", "timed out", "timed out", "refused")]
    assert logged == [True, False, True, False, True]
    assert [entry["error"] for entry in lines] == ["refused", "timed out", "refused"]


def test_the_duration_counts_from_the_first_problem_even_if_its_text_changed(lines: list[dict[str, Any]]) -> None:
    clock = Clock(100.0)
    log = ProblemLog("pki", began="it fails", ended="it works again", repeat=Repeat.WHEN_CHANGED, clock=clock)
    for problem in ("refused", "timed out", ""):
        log.update(problem)
        clock.now += 5
    assert lines[-1] == line("info", "it works again", after=10.0)


def test_a_problem_that_comes_back_is_logged_again(lines: list[dict[str, Any]]) -> None:
    log = ProblemLog("pki", began="it fails", ended="it works again")
    for problem in ("refused", "", "refused"):
        log.update(problem)
    assert [entry["event"] for entry in lines] == ["it fails", "it works again", "it fails"]


def test_the_beginning_can_be_an_error(lines: list[dict[str, Any]]) -> None:
    ProblemLog("pki", began="it fails", ended="it works again", level="error").update("refused")
    assert lines == [line("error", "it fails", error="refused")]
