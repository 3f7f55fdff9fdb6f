"""The judge's log record of a hang: a program that holds its GIL, and one that is stopped."""

import os
import signal
import time
from pathlib import Path

from tests.standin import StandIn, running, standing_in, until

ALIVE = (200, "Service is alive")


def records(program: StandIn) -> list[dict[str, str]]:
    return program.logged("the program hangs")


def test_the_stacks_of_a_program_that_holds_its_gil_are_logged_once_for_each_hang(tmp_path: Path) -> None:
    with standing_in(tmp_path, heartbeat_limit=1.0) as program:
        program.serve()
        for hang in (1, 2):
            program.say("hold")
            until(lambda hang=hang: len(records(program)) == hang, within=4)  # type: ignore[misc]
            start = time.monotonic()
            assert program.ask("/health/alive")[0] == 503
            assert time.monotonic() - start < 0.2
            time.sleep(1)
            assert len(records(program)) == hang
            program.say("")
            until(lambda: program.ask("/health/alive") == ALIVE, within=5)
        record = records(program)[-1]
        assert (record["level"], record["component"]) == ("error", "judge")
        assert "in _obey" in record["stacks"]  # the thread that holds it
        assert "in _beat" in record["stacks"]  # a thread that waits for it
        assert "no_stacks" not in record
        assert record["stacks"].count("in _obey") == 1  # the stacks of the first hang are not repeated


def test_probes_are_answered_while_the_record_is_written(tmp_path: Path) -> None:
    with standing_in(tmp_path, heartbeat_limit=1.0) as program:
        program.serve()
        program.say("hold")
        slowest = 0.0
        deadline = time.monotonic() + 4
        while not records(program) and time.monotonic() < deadline:
            start = time.monotonic()
            program.ask("/health/alive")
            slowest = max(slowest, time.monotonic() - start)
        assert records(program)
        assert slowest < 0.3


def test_the_record_of_a_stopped_program_gives_the_reason_for_missing_stacks(tmp_path: Path) -> None:
    with standing_in(tmp_path, heartbeat_limit=1.0) as program:
        program.serve()
        program.signal(signal.SIGSTOP)
        record = until(lambda: records(program), within=4)[0]
        assert record["state"] == "T (stopped)"
        assert record["no_stacks"] == "it is stopped"
        assert "stacks" not in record
        status = Path(f"/proc/{program.pid}/status").read_text()
        assert "ShdPnd:\t0000000000000000" in status  # no signal is pending that it would get when it continues
        program.signal(signal.SIGCONT)
        until(lambda: program.ask("/health/alive") == ALIVE, within=2)


def test_a_program_without_a_handler_is_not_sent_the_signal_that_would_kill_it(tmp_path: Path) -> None:
    with standing_in(tmp_path, heartbeat_limit=1.0) as program:
        program.serve()
        program.say("deafen")
        program.say("hold")
        record = until(lambda: records(program), within=4)[0]
        assert record["no_stacks"] == "it does not handle the signal"
        program.say("")
        until(lambda: program.ask("/health/alive") == ALIVE, within=4)
        assert running(program.pid)


def test_a_replacement_judge_logs_hangs_too(tmp_path: Path) -> None:
    with standing_in(tmp_path, heartbeat_limit=1.0) as program:
        program.serve()
        os.kill(program.judge, signal.SIGKILL)
        program.ask("/health/alive")
        program.say("hold")
        assert "in _obey" in until(lambda: records(program), within=4)[0]["stacks"]
