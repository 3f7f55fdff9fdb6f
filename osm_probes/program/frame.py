"""A program's first moments and its last: port 9091, heartbeat and judge around whatever it serves."""

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from osm_probes import __version__
from osm_probes.configuration.shared import Shared
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.logs import LogWriter, configure_logs, logger
from osm_probes.foundation.signals import StopSignals
from osm_probes.foundation.tasks import beside
from osm_probes.health.briefing import Briefing
from osm_probes.health.lifecycle import Lifecycle, Phase
from osm_probes.health.pulse import Pulse
from osm_probes.probes.keeper import JudgeKeeper
from osm_probes.probes.listen import listen

_BEAT_EVERY: Final = 0.25
_FLUSH_LIMIT: Final = 1.0
# A loop that is busy in short steps must still hand the GIL to grpc's and to the keeper's threads at once.
_SWITCH_INTERVAL: Final = 0.0005
# The default thresholds paused the loop up to 357 ms with 5,000 proxies.
_GC_THRESHOLDS: Final = (50_000, 20, 100)


class Frame:
    """What a program finds set up when its own part begins, and how it talks to its judge."""

    def __init__(self, signals: StopSignals, *, pulse: Pulse, keeper: JudgeKeeper, briefing: Briefing) -> None:
        self.signals = signals
        self.pulse = pulse
        self.keeper = keeper
        self._briefing = briefing

    def brief(self, **changes: Any) -> None:
        """Let the judge know what changed: fields of `Briefing` with their new values."""
        briefing = msgspec.structs.replace(self._briefing, **changes)
        if briefing != self._briefing:
            self._briefing = briefing
            self.keeper.tell(briefing)

    async def show(self, lifecycle: Lifecycle) -> None:
        """Put each phase where the judge sees it, without an end; one log line for each."""
        async for phase in lifecycle.phases.values():
            self.pulse.show(phase, has_served=lifecycle.has_served)
            logger(lifecycle.name).info("phase", phase=phase.name, reason=lifecycle.reason)

    async def drain(self, lifecycle: Lifecycle, *, delay: float) -> None:
        """Once asked to stop: not ready at once, serving for `delay` seconds more while endpoints propagate."""
        lifecycle.move(Phase.DRAINING, reason="asked to stop")
        self.pulse.show(Phase.DRAINING, has_served=True)
        await asyncio.sleep(delay)


Serve = Callable[[Frame], Awaitable[None]]
"""A program's own part: returns once it has stopped."""


def run_program(
    name: str,
    *,
    shared: Shared,
    briefing: Briefing,
    signals: StopSignals,
    serve: Serve,
) -> None:
    """Bind the probes' port, start the judge, run `serve`, end the judge last; ends the process with its status.

    Status 0 when `serve` returns; 1 with one log line where it raises an OsmError.
    """
    writer = configure_logs(shared.verbosity, component=name)
    briefing = msgspec.structs.replace(
        briefing,
        heartbeat_limit=shared.heartbeat_limit,
        canary_limit=shared.canary_limit,
        fixed_bodies={**briefing.fixed_bodies, "/version": _version_body()},
    )
    status = 0
    try:
        _run(shared, briefing=briefing, signals=signals, serve=serve)
    except OsmError as error:
        logger(name).critical("cannot start", error=str(error))
        status = 1
    _exit(writer, status)


def _run(shared: Shared, *, briefing: Briefing, signals: StopSignals, serve: Serve) -> None:
    with listen(shared.http_port, address=shared.bind_address or "") as listener:
        pulse = Pulse.create()
        with JudgeKeeper(listener, pulse=pulse, briefing=briefing, level=shared.verbosity) as keeper:
            sys.setswitchinterval(_SWITCH_INTERVAL)
            gc.set_threshold(*_GC_THRESHOLDS)
            logger("probes").info("listening", port=listener.getsockname()[1])
            asyncio.run(_beating(Frame(signals, pulse=pulse, keeper=keeper, briefing=briefing), serve))


async def _beating(frame: Frame, serve: Serve) -> None:
    async with beside(beat=_beat(frame.pulse)):
        await serve(frame)


async def _beat(pulse: Pulse) -> None:
    while True:
        pulse.beat()
        await asyncio.sleep(_BEAT_EVERY)


def _exit(writer: LogWriter, status: int) -> None:
    writer.flush(within=_FLUSH_LIMIT)
    sys.exit(status)


def _version_body() -> str:
    """The answer of /version; fields that are not known are left out."""
    return msgspec.json.encode({"version": __version__}).decode()
