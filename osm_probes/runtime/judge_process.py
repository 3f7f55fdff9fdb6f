"""The judge's process: started by its program, restarted when it dies or hangs, told of what changes, ended last."""

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
from types import TracebackType
from typing import Final, Self

from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.logs import logger
from osm_probes.health.inherited_sockets import InheritedSockets
from osm_probes.health.judge_state import JudgeState
from osm_probes.health.messages import (
    LINE_LIMIT,
    METRICS,
    Page,
    PageRequest,
    ToJudge,
    ToProgram,
    Transition,
    line_of,
    message_to_program,
)
from osm_probes.runtime.progress import Progress, reap_orphans

_SPARE_DESCRIPTORS: Final = 8  # what starting a process needs, and some more that other threads may take first
_POLL_EVERY: Final = 0.5
_BEAT_WITHIN: Final = 2.0
# Seconds of processor time, not of the clock: under a CPU quota a silent judge may only wait for its turn, and a new
# one would need far more. A judge that uses this much between two messages hangs.
_START_CPU: Final = 20.0
_BEAT_CPU: Final = 5.0
_SHORT_LIFE: Final = 1.0
_PAUSE: Final = 0.5
_BLOCKED: Final = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
_CHUNK: Final = 65536
_SENT_WITHIN: Final = 2.0


class JudgeGoneError(OsmError):
    """The judge has ended, or does not read or write any more."""


class JudgeSupervisor:
    """Keeps one judge running: from `start()` to `stop()`, or in a `with` block.

    A judge that dies is replaced at once. One that is silent for 2 s is killed and replaced, unless it makes progress:
    it waits for a processor or a disk, or has used less than 5 s of processor time (20 s at its start). Each gets the
    newest state. If this process dies, in whatever way, the judge dies with it. A listening socket that was destroyed
    from outside is replaced before the next judge starts. As process 1 of a container, orphans are reaped.

    `pages` (texts that only the program can write, by name) and `on_transition` may be set at any time. They are called
    in the supervisor's thread, so they must be quick and thread-safe. The supervisor needs no event loop and no heavy
    import: start it first, stop it last.
    """

    def __init__(self, sockets: InheritedSockets, *, judge_state: JudgeState, log_level: str = "info") -> None:
        self.pages: dict[str, Callable[[], str]] = {METRICS: str}
        self.on_transition: Callable[[Transition], None] = lambda _: None
        self._sockets = sockets
        self._judge_state = judge_state
        self._log_level = log_level
        self._stopping = False
        self._judge: JudgeProcess | None = None
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._spare: list[int] = []
        self._thread = threading.Thread(target=self._supervise, name="judge-supervisor", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the judge, which answers from now on."""
        self._reserve_descriptors()
        self._thread.start()

    def update(self, judge_state: JudgeState) -> None:
        """Send the judge a new state. It never blocks, and may be called in any thread."""
        try:
            line_of(judge_state)
        except ValueError as error:  # a text that is no Unicode must not cost the program its judge
            logger("keeper").error("a state cannot be sent to the judge, which keeps the one before", error=str(error))
            return
        self._judge_state = judge_state
        os.eventfd_write(self._wake, 1)

    def stop(self) -> None:
        """End the judge, within 3 s. The sockets stay open."""
        self._stopping = True
        os.eventfd_write(self._wake, 1)
        self._thread.join(3.0)
        self._release_descriptors()

    def kill(self) -> None:
        """Kill the judge and start no other: for a process that ends at once. It may be called in a signal handler."""
        self._stopping = True
        if self._judge is not None:
            self._judge.kill()

    def _supervise(self) -> None:
        # Never unblocked: each judge inherits the mask from its first moment on, and ends when its socket pair ends.
        signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
        while not self._stopping:
            started = time.monotonic()
            try:
                self._run_one()
            except Exception as error:  # any error: a program without a judge does not answer
                lived = time.monotonic() - started
                logger("keeper").warning("the judge ended and is restarted", error=str(error), lived=lived)
            if time.monotonic() - started < _SHORT_LIFE and not self._stopping:
                time.sleep(_PAUSE)

    def _run_one(self) -> None:
        self._release_descriptors()
        try:
            self._sockets = self._sockets.relisten()
            judge = self._judge = JudgeProcess(self._sockets, log_level=self._log_level)
        finally:
            self._reserve_descriptors()
        try:
            self._attend(judge)
        finally:
            judge.end(within=1.0 if self._stopping else 0.0)

    def _attend(self, judge: "JudgeProcess") -> None:
        """Exchange messages with the judge until the program stops. Raises JudgeGoneError."""
        poll = select.poll()
        poll.register(judge.descriptor, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        sent = None
        due = time.monotonic() + _BEAT_WITHIN
        progress = Progress(judge.pid, cpu_limit=_START_CPU)
        while not self._stopping:
            if sent is not (judge_state := self._judge_state):
                judge.send(judge_state)
                sent = judge_state
            polled_at = time.monotonic()
            readable = {descriptor for descriptor, _ in poll.poll(_POLL_EVERY * 1000)}
            if time.monotonic() - polled_at > _POLL_EVERY + _BEAT_WITHIN / 2:
                due = max(due, time.monotonic() + _BEAT_WITHIN)  # this process slept, so the judge may have slept, too
            if self._wake in readable:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._wake)
            if judge.descriptor in readable:
                for message in judge.receive():
                    self._handle(message, judge=judge)
                due = time.monotonic() + _BEAT_WITHIN
                progress = Progress(judge.pid, cpu_limit=_BEAT_CPU)
            elif not progress.made() and (late := time.monotonic() - due) > 0:
                raise JudgeGoneError(f"silent for {_BEAT_WITHIN + late:.1f} s")
            if os.getpid() == 1:
                reap_orphans(judge.pid)

    def _handle(self, message: ToProgram, *, judge: "JudgeProcess") -> None:
        try:
            if isinstance(message, PageRequest):
                if write := self.pages.get(message.name):  # else the program has not come so far yet
                    judge.send(Page(message.name, write()))
            elif isinstance(message, Transition):
                self.on_transition(message)
        except JudgeGoneError:
            raise
        except Exception as error:  # the program's fault, for which the judge need not be replaced
            logger("keeper").error(
                "a message of the judge could not be handled", error=f"{type(error).__name__}: {error}"
            )

    def _reserve_descriptors(self) -> None:
        """Keep descriptors for the start of the next judge, in case the program runs out of them."""
        with contextlib.suppress(OSError):
            while len(self._spare) < _SPARE_DESCRIPTORS:
                self._spare.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def _release_descriptors(self) -> None:
        while self._spare:
            os.close(self._spare.pop())


class JudgeProcess:
    """A judge that answers until it is ended or this process ends.

    It is a new interpreter, never a fork: it has nothing of this process's threads and libraries.
    """

    def __init__(self, sockets: InheritedSockets, *, log_level: str) -> None:
        self._rest = b""
        self._pair, theirs = socket.socketpair()
        try:
            passed = (theirs.fileno(), *sockets.descriptors)
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, with numbers
                # -P: a file in the working directory must not replace a module of the judge.
                [sys.executable, "-P", "-m", "osm_probes.judge", log_level, *map(str, (os.getpid(), *passed))],
                stdin=subprocess.DEVNULL,
                pass_fds=[descriptor for descriptor in passed if descriptor >= 0],
                start_new_session=True,  # Ctrl-C in a terminal is for the program, which ends its judge last
            )
        except BaseException:
            self._pair.close()
            raise
        finally:
            theirs.close()
        self._pair.settimeout(_SENT_WITHIN)

    @property
    def descriptor(self) -> int:
        """Readable when the judge has sent something or has ended."""
        return self._pair.fileno()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def kill(self) -> None:
        """Kill it at once, and do not wait."""
        self._process.kill()

    def send(self, message: ToJudge) -> None:
        """Send a message. Raises JudgeGoneError."""
        try:
            self._pair.sendall(line_of(message))
        except OSError as error:
            raise self._gone(error) from error

    def receive(self) -> list[ToProgram]:
        """The messages that have arrived; waits for some. Raises JudgeGoneError, MalformedMessageError."""
        try:
            chunk = self._pair.recv(_CHUNK)
        except OSError as error:
            raise self._gone(error) from error
        if not chunk or len(self._rest) > LINE_LIMIT:
            raise self._gone(EOFError("it closed its end"))
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [message_to_program(line) for line in lines]

    def end(self, *, within: float) -> None:
        """Close the pair, at which the judge ends; kill it if it has not within `within` seconds."""
        self._pair.close()
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _gone(self, error: Exception) -> JudgeGoneError:
        status = self._process.poll()
        return JudgeGoneError(f"exit status {status}" if status is not None else f"it does not read or write: {error}")
