"""How a program starts and stops: port 9091, heartbeat and judge first, then what it serves, the judge last."""

import asyncio
import contextlib
import gc
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

import msgspec

from osm_probes import __version__
from osm_probes.configuration.shared import SharedConfiguration
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.listen import AddressInUseError, UnusableAddressError, listen, listen_on_loopback
from osm_probes.foundation.logs import LongText, configure_logs, logger, set_log_level
from osm_probes.foundation.memory import return_freed_memory
from osm_probes.foundation.problem import Problem
from osm_probes.foundation.signals import StopSignals
from osm_probes.foundation.tasks import lasting_tasks
from osm_probes.health.heartbeat import Heartbeat
from osm_probes.health.inherited_sockets import InheritedSockets
from osm_probes.health.judge_state import AdsCanary, JudgeState, WebhookCanary
from osm_probes.health.lifecycle import Lifecycle, Phase
from osm_probes.health.messages import METRICS
from osm_probes.health.stacks import StackFile, stacks_of_this_process
from osm_probes.mesh.ports import VERSION_PATH
from osm_probes.runtime.judge_process import JudgeSupervisor

if TYPE_CHECKING:  # prometheus_client is loaded after port 9091 listens
    from osm_probes.runtime.metrics import ProgramMetrics

_BEAT_EVERY: Final = 0.25
_FLUSHED_WITHIN: Final = 1.0
_LAST_LINE_WITHIN: Final = 0.1
_STDERR: Final = 2
# A busy event loop must hand the GIL to the threads of grpc and of the judge's supervisor at once.
_SWITCH_INTERVAL: Final = 0.0005
# With the default thresholds, collections paused the loop for up to 357 ms with 5,000 proxies.
_GC_THRESHOLDS: Final = (50_000, 20, 100)


class JudgeStateChanges(TypedDict, total=False):
    """Fields of JudgeState with their new values."""

    problems: Mapping[str, Problem]
    warnings: tuple[Problem, ...]
    expiries: Mapping[str, datetime]
    ads: AdsCanary
    webhook: WebhookCanary
    fixed_bodies: Mapping[str, str]
    log_level: str


class Process:
    """What is set up when a program's own part begins: its heartbeat, its judge and its stop signals.

    earns_beat: whether what the program serves has made progress since the last call of this. A program whose service
    needs nothing besides the event loop leaves it as it is.
    """

    def __init__(
        self, signals: StopSignals, *, heartbeat: Heartbeat, judge: JudgeSupervisor, judge_state: JudgeState
    ) -> None:
        self.signals = signals
        self.heartbeat = heartbeat
        self.judge = judge
        self._judge_state = judge_state
        self._verbosity = judge_state.log_level
        self._observe_lag: Callable[[float], object] = lambda _: None
        self.earns_beat: Callable[[], bool] = lambda: True

    def use_metrics(self, metrics: "ProgramMetrics") -> None:
        """Serve these metrics from now on."""
        self.judge.pages[METRICS] = metrics.text
        self._observe_lag = metrics.lag.observe

    async def beat(self) -> None:
        """Beat as long as it is earned, without an end, and measure how late the event loop is."""
        while True:
            if self.earns_beat():
                self.heartbeat.beat()
            due = time.monotonic() + _BEAT_EVERY
            await asyncio.sleep(_BEAT_EVERY)
            self._observe_lag(max(0.0, time.monotonic() - due))

    def update_judge(self, **changes: Unpack[JudgeStateChanges]) -> None:
        """Send the judge what has changed."""
        judge_state = msgspec.structs.replace(self._judge_state, **changes)
        if judge_state != self._judge_state:
            self._judge_state = judge_state
            self.judge.update(judge_state)

    def set_body(self, path: str, body: str) -> None:
        """Have the judge answer requests for this path with this body."""
        self.update_judge(fixed_bodies={**self._judge_state.fixed_bodies, path: body})

    def set_warnings(self, *warnings: Problem) -> None:
        """Have `?verbose` show these warnings, and no others."""
        self.update_judge(warnings=warnings)

    def set_log_level(self, level: str) -> None:
        """Log from this level on, in program and judge; "" means the level of --verbosity."""
        set_log_level(level or self._verbosity)
        self.update_judge(log_level=level or self._verbosity)

    async def publish_phases(self, lifecycle: Lifecycle) -> None:
        """Write each phase into the heartbeat, where the judge reads it, and into the log. It has no end."""
        async for phase in lifecycle.phases.values():
            self.heartbeat.show(phase, has_served=lifecycle.has_served)
            logger(lifecycle.name).info("phase", phase=phase.name, reason=lifecycle.reason)

    async def until_stop(self, *, grace: float) -> None:
        """Wait until a stop is asked for. From then on the process ends within `grace` seconds, whatever hangs."""
        # Started now: when memory is short, a thread can no longer be started. The interpreter would wait for a thread
        # that reads a slow disk, and nothing can interrupt that.
        stopping = threading.Event()
        threading.Thread(target=_exit_after, args=(stopping, grace), name="grace", daemon=True).start()
        await self.signals.stop()
        stopping.set()

    async def drain(self, lifecycle: Lifecycle, *, delay: float) -> None:
        """Be not ready at once, and go on serving for `delay` seconds, in which endpoints propagate."""
        lifecycle.move(Phase.DRAINING, reason="asked to stop")
        self.heartbeat.show(Phase.DRAINING, has_served=True)
        await asyncio.sleep(delay)


ServeProgram = Callable[[Process], Awaitable[None]]
"""A program's own part; it returns when the program has stopped."""


def run_program(
    name: str,
    *,
    shared: SharedConfiguration,
    judge_state: JudgeState,
    signals: StopSignals,
    serve: ServeProgram,
    report_fatal: Callable[[OsmError], None] = lambda _: None,
) -> None:
    """Listen on the probes' port, start the judge, run `serve`, end the judge last; ends the process with its status.

    Status 0 when `serve` returns; 1, with one log line, when it raises an OsmError, which `report_fatal` gets as well.
    """
    _open_standard_descriptors()
    _forbid_core_dumps()
    writer = configure_logs(shared.verbosity)
    judge_state = msgspec.structs.replace(
        judge_state,
        heartbeat_limit=shared.heartbeat_limit,
        canary_limit=shared.canary_limit,
        log_level=shared.verbosity,
        fixed_bodies={**judge_state.fixed_bodies, VERSION_PATH: _version_body()},
    )
    heartbeat = Heartbeat.create()
    status = 0
    try:
        _run(shared, heartbeat=heartbeat, judge_state=judge_state, signals=signals, serve=serve)
    except OsmError as error:
        message = "ended by an error" if heartbeat.read().has_served else "cannot start"
        logger(name).critical(message, error=str(error))
        report_fatal(error)
        status = 1
    writer.flush(within=_FLUSHED_WITHIN)
    sys.exit(status)


def _run(
    shared: SharedConfiguration,
    *,
    heartbeat: Heartbeat,
    judge_state: JudgeState,
    signals: StopSignals,
    serve: ServeProgram,
) -> None:
    with contextlib.ExitStack() as stack:
        address = shared.bind_address or ""
        http = stack.enter_context(listen(shared.http_port, address=address))
        grpc = None
        if shared.grpc_health_port is not None:
            grpc = stack.enter_context(listen(shared.grpc_health_port, address=address))
        debug = _listen_for_debugging(shared.debug_port)
        stack.enter_context(debug or contextlib.nullcontext())
        sockets = InheritedSockets(http, heartbeat, StackFile.create(), grpc, debug)
        judge = stack.enter_context(JudgeSupervisor(sockets, judge_state=judge_state, log_level=shared.verbosity))
        signals.before_exit = judge.kill
        signals.on_quit = _log_stacks
        sys.setswitchinterval(_SWITCH_INTERVAL)
        gc.set_threshold(*_GC_THRESHOLDS)
        logger("probes").info("listening", port=http.getsockname()[1])
        if grpc is not None:
            logger("grpc-health").info("listening", port=grpc.getsockname()[1])
        if debug is not None:
            logger("debug").info("listening", port=debug.getsockname()[1])
        asyncio.run(_serve(Process(signals, heartbeat=heartbeat, judge=judge, judge_state=judge_state), serve))


def _listen_for_debugging(port: int | None) -> socket.socket | None:
    if port is None:
        return None
    try:
        return listen_on_loopback(port)
    except (AddressInUseError, UnusableAddressError) as error:
        logger("debug").warning("the debug port is not served: osm proxy list cannot ask here", error=str(error))
        return None


async def _serve(process: Process, serve: ServeProgram) -> None:
    async with lasting_tasks(beat=process.beat, memory=return_freed_memory):
        await serve(process)


def _exit_after(stopping: threading.Event, grace: float) -> None:
    stopping.wait()
    time.sleep(grace)
    logger("program").warning("the grace period is over: the process ends without having drained")
    time.sleep(_LAST_LINE_WITHIN)
    os._exit(0)


def _log_stacks() -> None:
    logger("program").warning("SIGQUIT: the stacks of all threads", stacks=LongText(stacks_of_this_process()))


def _open_standard_descriptors() -> None:
    """Open 0, 1 and 2 where they are closed: a socket would get the number, and a child would have it as its stdin."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(descriptor)


def _forbid_core_dumps() -> None:
    """Leave no core file of this process or its judge, which would contain the private keys.

    A limit of 1 byte also keeps the kernel from piping it to a program (see core_pattern in core(5)); 0 does not.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    limit = 0 if hard == 0 else 1
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))


def _version_body() -> str:
    """The body of /version; unknown fields are left out."""
    return msgspec.json.encode({"version": __version__}).decode()
