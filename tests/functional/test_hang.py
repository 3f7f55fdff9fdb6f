"""The record of a hang: a program that holds its GIL or is stopped, and its judge's log."""

import os
import signal
import time
from pathlib import Path

from tests.standin import StandIn, running, standing_in, until

ALIVE = (200, "Service is alive")


def records(program: StandIn) -> list[dict[str, str]]:
    return program.logged("the program hangs")


def test_the_stacks_of_a_program_that_holds_its_gil_are_logged_once_a_hang(tmp_path: Path) -> None:
    with standing_in(tmp_path, heartbeat_limit=1.0) as program:
        program.serve()
        for hang in (1, 2):
            program.say("hold")
            until(lambda hang=hang: len(records(program)) == hang, within=4)  # type: ignore[misc]
            asked_at = time.monotonic()
            assert program.ask("/health/alive")[0] == 503
            assert time.monotonic() - asked_at < 0.2
            time.sleep(1)
            assert len(records(program)) == hang
            program.say("")
            until(lambda: program.ask("/health/alive") == ALIVE, within=5)
        record = records(program)[-1]
        assert (record["level"], record["component"]) == ("error", "judge")
        assert "in _obey" in record["stacks"]  # the thread that holds it
        assert "in _beat" in record["stacks"]  # and one that waits for it
        assert "no_stacks" not in record
        assert record["stacks"].count("in _obey") == 1  # the first hang's are not told again


def test_the_record_is_written_while_probes_are_answered(tmp_path: Path) -> None:
    with standing_in(tmp_path, heartbeat_limit=1.0) as program:
        program.serve()
        program.say("hold")
        slowest = 0.0
        deadline = time.monotonic() + 4
        while not records(program) and time.monotonic() < deadline:
            asked_at = time.monotonic()
            program.ask("/health/alive")
            slowest = max(slowest, time.monotonic() - asked_at)
        assert records(program)
        assert slowest < 0.3


def test_a_stopped_program_has_no_stack_and_the_record_says_so(tmp_path: Path) -> None:
    with standing_in(tmp_path, heartbeat_limit=1.0) as program:
        program.serve()
        program.signal(signal.SIGSTOP)
        record = until(lambda: records(program), within=4)[0]
        assert record["state"] == "T (stopped)"
        assert record["no_stacks"] == "it is stopped"
        assert "stacks" not in record
        status = Path(f"/proc/{program.pid}/status").read_text()
        assert "ShdPnd:\t0000000000000000" in status  # nothing waits for it to go on
        program.signal(signal.SIGCONT)
        until(lambda: program.ask("/health/alive") == ALIVE, within=2)


def test_a_program_that_would_die_from_the_request_is_not_asked(tmp_path: Path) -> None:
    with standing_in(tmp_path, heartbeat_limit=1.0) as program:
        program.serve()
        program.say("deafen")
        program.say("hold")
        record = until(lambda: records(program), within=4)[0]
        assert record["no_stacks"] == "it does not listen to the request"
        program.say("")
        until(lambda: program.ask("/health/alive") == ALIVE, within=4)
        assert running(program.pid)


def test_a_judge_that_replaced_another_tells_hangs_as_well(tmp_path: Path) -> None:
    with standing_in(tmp_path, heartbeat_limit=1.0) as program:
        program.serve()
        os.kill(program.judge, signal.SIGKILL)
        program.ask("/health/alive")
        program.say("hold")
        assert "in _obey" in until(lambda: records(program), within=4)[0]["stacks"]
