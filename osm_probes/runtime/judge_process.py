"""Keeper -> the judge's process: exec'd, spoken to over a socket pair, ended."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from os import getpid
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.logs import logger
from osm_probes.health.heartbeat import Heartbeat
from osm_probes.health.judge_state import JudgeState
from osm_probes.health.messages import (
    LINE_LIMIT,
    METRICS,
    Text,
    TextRequest,
    ToJudge,
    ToProgram,
    Transition,
    line_of,
    message_to_program,
)
from osm_probes.health.stacks import StackFile

_CHUNK: Final = 65536
_PATIENCE: Final = 2.0  # a judge that does not read for so long is as good as dead


class JudgeGoneError(OsmError):
    """The judge ended, or does not speak or listen any more."""


@dataclass(frozen=True, slots=True)
class InheritedSockets:
    """What each judge of a program inherits: the sockets where it answers, and what it reads of the program.

    `grpc` is the socket of grpc.health.v1; None = it is not served.
    """

    http: socket.socket
    heartbeat: Heartbeat
    stacks: StackFile
    grpc: socket.socket | None = None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """In the order of the judge's arguments."""
        always = (self.http.fileno(), self.heartbeat.descriptor, self.stacks.descriptor)
        return always if self.grpc is None else (*always, self.grpc.fileno())


class JudgeProcess:
    """A judge that answers on the estate's sockets until it is ended or this process ends.

    Never forked alone: its interpreter is a new one, so nothing of this process's threads and libraries goes along.
    """

    def __init__(self, sockets: InheritedSockets, *, level: str) -> None:
        self._rest = b""
        self._pair, theirs = socket.socketpair()
        try:
            passed = (theirs.fileno(), *sockets.descriptors)
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, with numbers
                # -P: a file in the working directory must not stand in for a module of the judge.
                [sys.executable, "-P", "-m", "osm_probes.judge.main", level, *map(str, (getpid(), *passed))],
                stdin=subprocess.DEVNULL,
                pass_fds=passed,
                start_new_session=True,  # a terminal's Ctrl-C is for the program, which ends its judge last
            )
        except BaseException:
            self._pair.close()
            raise
        finally:
            theirs.close()
        self._pair.settimeout(_PATIENCE)

    @property
    def descriptor(self) -> int:
        """Readable when the judge has said something or has ended."""
        return self._pair.fileno()

    @property
    def waits(self) -> bool:
        """Whether it is late, not stuck."""
        return waits_for_machine(self._process.pid)

    def say(self, message: ToJudge) -> None:
        """Tell it something. Raises JudgeGoneError."""
        try:
            self._pair.sendall(line_of(message))
        except OSError as error:
            raise self._gone(error) from error

    def hear(self) -> list[ToProgram]:
        """What it has said; waits for some. Raises JudgeGoneError, MalformedMessageError."""
        try:
            chunk = self._pair.recv(_CHUNK)
        except OSError as error:
            raise self._gone(error) from error
        if not chunk or len(self._rest) > LINE_LIMIT:
            raise self._gone(EOFError("it closed its end"))
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [message_to_program(line) for line in lines]

    def end(self, *, within: float) -> None:
        """Let it end by itself `within` seconds, then kill it."""
        self._pair.close()
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _gone(self, error: Exception) -> JudgeGoneError:
        status = self._process.poll()
        return JudgeGoneError(f"exit status {status}" if status is not None else f"it does not listen: {error}")


def waits_for_machine(pid: int) -> bool:
    """Whether a process would go on at once if it were given a processor, or its disk answered."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    # proc_pid_stat(5): behind the command's name, which may hold anything.
    return status.rpartition(b")")[2].split()[0] in {b"R", b"D"}


_SPARE: Final = 8  # descriptors: what a spawn needs, and a few that others may snatch meanwhile
_POLL: Final = 0.5
_FIRST_BEAT: Final = 10.0  # a new judge's imports, on a machine that is short of processor time
_SILENCE: Final = 2.0
# Under a CPU quota a judge that is silent may be next in the queue: a new one would need many times what it needs.
_STARVED: Final = 10.0
_SHORT_LIFE: Final = 1.0
_PAUSE: Final = 0.5


class JudgeSupervisor:
    """Keeps one judge beside this program: from `start()` to `stop()`, or in a `with`.

    A judge that dies is replaced at once, one that is silent for 2 s is killed and replaced, or for 12 s where all it
    lacks is a processor; each gets the newest briefing. If this process dies in whatever way, the judge goes with it.

    `texts` (what the program says about itself, by topic) and `transitions` may be set at any time; the keeper's thread
    calls them, so they must be quick and safe beside the event loop. No event loop and no heavy import is needed:
    start it first, stop it last.
    """

    def __init__(self, sockets: InheritedSockets, *, judge_state: JudgeState, level: str = "info") -> None:
        self.texts: dict[str, Callable[[], str]] = {METRICS: str}
        self.transitions: Callable[[Transition], None] = lambda _: None
        self._sockets = sockets
        self._judge_state = judge_state
        self._level = level
        self._stopping = False
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._spare: list[int] = []
        self._thread = threading.Thread(target=self._keep, name="judge-keeper", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the judge, which answers from now on."""
        self._reserve()
        self._thread.start()

    def tell(self, judge_state: JudgeState) -> None:
        """Tell the judge what it is to know from now on; from any thread, never waits."""
        try:
            line_of(judge_state)
        except ValueError as error:  # a text that is no Unicode: no reason to be without a judge
            logger("keeper").error("the judge cannot be told: it keeps what it knows", error=str(error))
            return
        self._judge_state = judge_state
        os.eventfd_write(self._wake, 1)

    def stop(self) -> None:
        """End the judge; within 3 s. The estate stays the caller's."""
        self._stopping = True
        os.eventfd_write(self._wake, 1)
        self._thread.join(3.0)
        self._release()

    def _keep(self) -> None:
        # For good: every judge inherits the mask, from its first moment on; it ends by the end of its pair alone.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
        while not self._stopping:
            born = time.monotonic()
            try:
                self._keep_one()
            except Exception as error:  # whatever it was: a program without a judge is silent
                logger("keeper").warning(
                    "the judge ended; it is started again", error=str(error), lived=time.monotonic() - born
                )
            if time.monotonic() - born < _SHORT_LIFE and not self._stopping:
                time.sleep(_PAUSE)

    def _keep_one(self) -> None:
        self._release()
        try:
            judge = JudgeProcess(self._sockets, level=self._level)
        finally:
            self._reserve()
        try:
            self._attend(judge)
        finally:
            judge.end(within=1.0 if self._stopping else 0.0)

    def _attend(self, judge: JudgeProcess) -> None:
        poll = select.poll()
        poll.register(judge.descriptor, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        told = None
        due = time.monotonic() + _FIRST_BEAT
        while not self._stopping:
            if told is not (judge_state := self._judge_state):
                judge.say(judge_state)
                told = judge_state
            asked_at = time.monotonic()
            heard = {descriptor for descriptor, _ in poll.poll(_POLL * 1000)}
            if time.monotonic() - asked_at > _POLL + _SILENCE / 2:
                due = max(due, time.monotonic() + _SILENCE)  # this process slept, so the judge may have slept as well
            if self._wake in heard:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._wake)
            if judge.descriptor in heard:
                for message in judge.hear():
                    self._answer(message, judge=judge)
                due = time.monotonic() + _SILENCE
            elif (late := time.monotonic() - due) > 0 and (late > _STARVED or not judge.waits):
                raise JudgeGoneError(f"silent for {_SILENCE + late:.1f} s")

    def _answer(self, message: ToProgram, *, judge: JudgeProcess) -> None:
        try:
            if isinstance(message, TextRequest):
                if write := self.texts.get(message.topic):  # else it is silent: it has not come so far yet
                    judge.say(Text(message.topic, write()))
            elif isinstance(message, Transition):
                self.transitions(message)
        except JudgeGoneError:
            raise
        except Exception as error:  # the program's own fault: the judge need not go for it
            logger("keeper").error("the judge got no answer", error=f"{type(error).__name__}: {error}")

    def _reserve(self) -> None:
        with contextlib.suppress(OSError):
            while len(self._spare) < _SPARE:
                self._spare.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def _release(self) -> None:
        while self._spare:
            os.close(self._spare.pop())
