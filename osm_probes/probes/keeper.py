"""Program -> judge: one thread that keeps the judge's process running, tells it what changed and hears what it says."""

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from osm_probes.foundation.logs import logger
from osm_probes.health.briefing import Briefing
from osm_probes.probes.child import Estate, JudgeGoneError, JudgeProcess
from osm_probes.probes.link import METRICS, Text, TextRequest, ToProgram, Transition, line_of

_SPARE: Final = 8  # descriptors: what a spawn needs, and a few that others may snatch meanwhile
_POLL: Final = 0.5
_FIRST_BEAT: Final = 10.0  # a new judge's imports, on a machine that is short of processor time
_SILENCE: Final = 2.0
# Under a CPU quota a judge that is silent may be next in the queue: a new one would need many times what it needs.
_STARVED: Final = 10.0
_SHORT_LIFE: Final = 1.0
_PAUSE: Final = 0.5


class JudgeKeeper:
    """Keeps one judge beside this program: from `start()` to `stop()`, or in a `with`.

    A judge that dies is replaced at once, one that is silent for 2 s is killed and replaced, or for 12 s where all it
    lacks is a processor; each gets the newest briefing. If this process dies in whatever way, the judge goes with it.

    `texts` (what the program says about itself, by topic) and `transitions` may be set at any time; the keeper's thread
    calls them, so they must be quick and safe beside the event loop. No event loop and no heavy import is needed:
    start it first, stop it last.
    """

    def __init__(self, estate: Estate, *, briefing: Briefing, level: str = "info") -> None:
        self.texts: dict[str, Callable[[], str]] = {METRICS: str}
        self.transitions: Callable[[Transition], None] = lambda _: None
        self._estate = estate
        self._briefing = briefing
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

    def tell(self, briefing: Briefing) -> None:
        """Tell the judge what it is to know from now on; from any thread, never waits."""
        try:
            line_of(briefing)
        except ValueError as error:  # a text that is no Unicode: no reason to be without a judge
            logger("keeper").error("the judge cannot be told: it keeps what it knows", error=str(error))
            return
        self._briefing = briefing
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
            judge = JudgeProcess(self._estate, level=self._level)
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
            if told is not (briefing := self._briefing):
                judge.say(briefing)
                told = briefing
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
