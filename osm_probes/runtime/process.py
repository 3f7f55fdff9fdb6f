"""A program's first moments and its last: port 9091, heartbeat and judge around whatever it serves."""

import asyncio
import contextlib
import gc
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from osm_probes import __version__
from osm_probes.configuration.shared import Shared
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.listen import listen
from osm_probes.foundation.logs import LogWriter, configure_logs, logger
from osm_probes.foundation.signals import StopSignals
from osm_probes.foundation.tasks import background_tasks
from osm_probes.health.heartbeat import Heartbeat
from osm_probes.health.judge_state import JudgeState
from osm_probes.health.lifecycle import Lifecycle, Phase
from osm_probes.health.messages import METRICS
from osm_probes.health.stacks import StackFile
from osm_probes.runtime.judge_process import InheritedSockets, JudgeSupervisor

if TYPE_CHECKING:  # prometheus_client waits until the probes' port listens
    from osm_probes.runtime.metrics import ProgramMetrics

_BEAT_EVERY: Final = 0.25
_FLUSH_LIMIT: Final = 1.0
_LAST_WORDS: Final = 0.1
_STDERR: Final = 2
# A loop that is busy in short steps must still hand the GIL to grpc's and to the keeper's threads at once.
_SWITCH_INTERVAL: Final = 0.0005
# The default thresholds paused the loop up to 357 ms with 5,000 proxies.
_GC_THRESHOLDS: Final = (50_000, 20, 100)


class Process:
    """What a program finds set up when its own part begins, and how it talks to its judge."""

    def __init__(
        self,
        signals: StopSignals,
        *,
        heartbeat: Heartbeat,
        keeper: JudgeSupervisor,
        judge_state: JudgeState,
        writer: LogWriter,
    ) -> None:
        self.signals = signals
        self.heartbeat = heartbeat
        self.keeper = keeper
        self._judge_state = judge_state
        self._writer = writer
        self._verbosity = judge_state.log_level
        self._lagged: Callable[[float], object] = lambda _: None

    def measure(self, metrics: "ProgramMetrics") -> None:
        """From now on these are the program's metrics."""
        self.keeper.texts[METRICS] = metrics.text
        self._lagged = metrics.lag.observe

    async def beat(self) -> None:
        """Beat without an end, and measure how late the loop lets it."""
        while True:
            self.heartbeat.beat()
            due = time.monotonic() + _BEAT_EVERY
            await asyncio.sleep(_BEAT_EVERY)
            self._lagged(max(0.0, time.monotonic() - due))

    def brief(self, **changes: Any) -> None:
        """Let the judge know what changed: fields of `JudgeState` with their new values."""
        judge_state = msgspec.structs.replace(self._judge_state, **changes)
        if judge_state != self._judge_state:
            self._judge_state = judge_state
            self.keeper.tell(judge_state)

    def answer(self, path: str, body: str) -> None:
        """Let the judge answer this whenever it is asked for this path."""
        self.brief(fixed_bodies={**self._judge_state.fixed_bodies, path: body})

    def warn(self, *warnings: str) -> None:
        """Let `?verbose` warn of these, and of nothing else, until the next briefing about warnings."""
        self.brief(warnings=warnings)

    def log_at(self, level: str) -> None:
        """Write the logs of program and judge from this level on; "" = from the one that the flag says."""
        self._writer.level = level or self._verbosity
        self.brief(log_level=self._writer.level)

    async def show(self, lifecycle: Lifecycle) -> None:
        """Put each phase where the judge sees it, without an end; one log line for each."""
        async for phase in lifecycle.phases.values():
            self.heartbeat.show(phase, has_served=lifecycle.has_served)
            logger(lifecycle.name).info("phase", phase=phase.name, reason=lifecycle.reason)

    async def until_stop(self, *, grace: float) -> None:
        """Wait until a stop is asked for; from then on the process ends within `grace` seconds, whatever hangs."""
        await self.signals.stop()
        # A thread that reads a slow disk, which nothing can interrupt, would keep the interpreter from its end.
        limit = threading.Timer(grace, _give_up)
        limit.daemon = True
        limit.start()

    async def drain(self, lifecycle: Lifecycle, *, delay: float) -> None:
        """Once asked to stop: not ready at once, serving for `delay` seconds more while endpoints propagate."""
        lifecycle.move(Phase.DRAINING, reason="asked to stop")
        self.heartbeat.show(Phase.DRAINING, has_served=True)
        await asyncio.sleep(delay)


ServeProgram = Callable[[Process], Awaitable[None]]
"""A program's own part: returns once it has stopped."""


def run_program(
    name: str,
    *,
    shared: Shared,
    judge_state: JudgeState,
    signals: StopSignals,
    serve: ServeProgram,
    fatal: Callable[[OsmError], None] = lambda _: None,
) -> None:
    """Bind the probes' port, start the judge, run `serve`, end the judge last; ends the process with its status.

    Status 0 when `serve` returns; 1 with one log line where it raises an OsmError, of which `fatal` tells others.
    """
    _fill_standard_descriptors()
    writer = configure_logs(shared.verbosity, component=name)
    judge_state = msgspec.structs.replace(
        judge_state,
        heartbeat_limit=shared.heartbeat_limit,
        canary_limit=shared.canary_limit,
        log_level=shared.verbosity,
        fixed_bodies={**judge_state.fixed_bodies, "/version": _version_body()},
    )
    heartbeat = Heartbeat.create()
    status = 0
    try:
        _run(shared, heartbeat=heartbeat, judge_state=judge_state, signals=signals, serve=serve, writer=writer)
    except OsmError as error:
        message = "ended by an error" if heartbeat.read().has_served else "cannot start"
        logger(name).critical(message, error=str(error))
        fatal(error)
        status = 1
    writer.flush(within=_FLUSH_LIMIT)
    sys.exit(status)


def _run(
    shared: Shared,
    *,
    heartbeat: Heartbeat,
    judge_state: JudgeState,
    signals: StopSignals,
    serve: ServeProgram,
    writer: LogWriter,
) -> None:
    with contextlib.ExitStack() as opened:
        address = shared.bind_address or ""
        http = opened.enter_context(listen(shared.http_port, address=address))
        grpc = None
        if shared.grpc_health_port is not None:
            grpc = opened.enter_context(listen(shared.grpc_health_port, address=address))
        sockets = InheritedSockets(http, heartbeat, StackFile.create(), grpc)
        keeper = opened.enter_context(JudgeSupervisor(sockets, judge_state=judge_state, level=shared.verbosity))
        sys.setswitchinterval(_SWITCH_INTERVAL)
        gc.set_threshold(*_GC_THRESHOLDS)
        logger("probes").info("listening", port=http.getsockname()[1])
        if grpc is not None:
            logger("grpc-health").info("listening", port=grpc.getsockname()[1])
        process = Process(signals, heartbeat=heartbeat, keeper=keeper, judge_state=judge_state, writer=writer)
        asyncio.run(_beating(process, serve))


async def _beating(process: Process, serve: ServeProgram) -> None:
    async with background_tasks(beat=process.beat()):
        await serve(process)


def _give_up() -> None:
    logger("program").warning("the grace is over: ended as it stands")
    time.sleep(_LAST_WORDS)
    os._exit(0)


def _fill_standard_descriptors() -> None:
    """Where 0, 1 or 2 is closed, a socket would get its number, and a child's standard input in its place."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(descriptor)


def _version_body() -> str:
    """The answer of /version; fields that are not known are left out."""
    return msgspec.json.encode({"version": __version__}).decode()
