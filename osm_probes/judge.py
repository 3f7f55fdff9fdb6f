"""The probe process of either program: dials it, reads its heartbeat and answers 9091. Started by the keeper alone."""

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

from osm_probes.admission.canary import ask_bundle, ask_certificate, ask_review
from osm_probes.ads.canary import ask_ads
from osm_probes.foundation.logs import LogWriter, configure_logs
from osm_probes.foundation.tasks import beside
from osm_probes.health.briefing import AdsCanary, Briefing, WebhookCanary
from osm_probes.health.checks import Question, UnhealthyError, coalesced
from osm_probes.health.pulse import Pulse
from osm_probes.health.stacks import StackFile
from osm_probes.probes.bench import Bench
from osm_probes.probes.child import Estate
from osm_probes.probes.grpc_server import GRPC_CONNECTIONS, GrpcHealth
from osm_probes.probes.handlers import Probes
from osm_probes.probes.hang import HangWatch
from osm_probes.probes.link import Beat, Transition
from osm_probes.probes.metrics import JudgeMetrics
from osm_probes.probes.program_link import ProgramLink
from osm_probes.probes.record import Record
from osm_probes.probes.server import CONNECTIONS, serving
from osm_probes.probes.verdict import UNSERVED, Ruling
from osm_probes.probes.verdicts import Verdicts

_BEAT: Final = 0.5
_OWN_DESCRIPTORS: Final = 48  # of the loop, of dials, and of connections that are just accepted or dropped
_UNASKED: Final = 5.0
_KEEP: Final = 0.25
_SET_DEATH_SIGNAL: Final = 1  # prctl(2): PR_SET_PDEATHSIG

Canary = TypeVar("Canary", AdsCanary, WebhookCanary)


def main() -> None:
    """Judge until the program ends. Arguments: log level, program's pid, and by descriptor the pair and the estate.

    SIGTERM, SIGINT and SIGHUP come blocked from the keeper and stay so: the judge ends last, by the end of the pair.
    """
    program, pair, http, pulse, stacks, *grpc = map(int, sys.argv[2:])
    _follow(program)
    writer = configure_logs(sys.argv[1], component="judge")
    listeners = [socket.socket(fileno=descriptor) for descriptor in (http, *grpc)]
    estate = Estate(listeners[0], Pulse(pulse), StackFile(stacks), *listeners[1:])
    asyncio.run(_judge(estate, program=program, pair=socket.socket(fileno=pair), writer=writer))
    writer.flush(within=0.2)


def _follow(program: int) -> None:
    """Die when the program does, even if this process is stuck."""
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != program:  # it died before the call
        sys.exit(1)


async def _judge(estate: Estate, *, program: int, pair: socket.socket, writer: LogWriter) -> None:
    link = await ProgramLink.over(pair)
    if (briefing := await link.first()) is None:
        return
    metrics, verdicts = JudgeMetrics(), Verdicts()

    def tell(transition: Transition) -> None:
        metrics.changed(transition)
        link.say(transition)

    record = Record(tell)

    def observe(ruling: Ruling) -> None:
        metrics.ruled(ruling)
        record.note(ruling)
        verdicts.note(ruling)

    def brief(newest: Briefing) -> None:
        writer.level = newest.log_level
        bench.brief(newest)

    bench = Bench(estate.pulse, briefing=briefing, dials=dials(lambda: bench.briefing), observe=observe)
    probes = Probes(bench, record=record, metrics=metrics, program_text=link.text)
    health = GrpcHealth(bench, verdicts, answered=metrics.answered)
    hang = HangWatch(bench, stacks=estate.stacks, program=program)
    own = _OWN_DESCRIPTORS + (GRPC_CONNECTIONS if estate.grpc else 0)
    async with (
        serving(estate.http, probes.answer, malformed=probes.malformed, connections=_room(own)),
        health.serving(estate.grpc) if estate.grpc else contextlib.nullcontext(),
        beside(beat=_beat(bench, link), ask=_ask(bench), hang=hang.run()),
    ):
        await link.hear(brief)


def _room(own: int) -> int:
    """How many connections of HTTP can be held beside `own` descriptors.

    A program that was given few has handed its limit on.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + own
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(1, min(CONNECTIONS, soft - own))
    return CONNECTIONS


async def _beat(bench: Bench, link: ProgramLink) -> None:
    while True:
        link.say(Beat())
        bench.alive()
        await asyncio.sleep(_BEAT)


async def _ask(bench: Bench) -> None:
    """Ask what nobody asks: 0.5 s after a change and each 5 s, so that metrics and transitions are not stale."""
    while True:
        if time.monotonic_ns() - bench.ready_asked_at > _UNASKED * 1e9:
            await bench.ready()
        await asyncio.sleep(_BEAT)


def dials(briefing: Callable[[], Briefing]) -> Mapping[str, Question]:
    """The questions that open a connection, by check: each asked once at a time, its answer kept for 250 ms."""

    def question(
        newest: Callable[[Briefing], Canary | None], ask: Callable[[Canary, float], Awaitable[None]]
    ) -> Question:
        def known() -> Canary:
            if (canary := newest(briefing())) is None:
                raise UnhealthyError(UNSERVED)
            return canary

        async def once() -> None:
            canary = known()
            try:
                await ask(canary, briefing().canary_limit)
            except UnhealthyError:
                # Certificates changed while it was asked: that no is not a no.
                if (newer := known()) == canary:
                    raise
                await ask(newer, briefing().canary_limit)

        kept = coalesced(once, keep=_KEEP)

        async def ask_if_known() -> None:
            known()  # where there is nobody to dial there is no answer to keep
            await kept()

        return ask_if_known

    return {
        "ads": question(lambda known: known.ads, lambda canary, limit: ask_ads(canary, within=limit)),
        "certificate": question(
            lambda known: known.webhook, lambda canary, limit: ask_certificate(canary, within=limit)
        ),
        "bundle": question(lambda known: known.webhook, lambda canary, limit: ask_bundle(canary, within=limit)),
        "review": question(lambda known: known.webhook, lambda canary, limit: ask_review(canary, within=limit)),
    }


if __name__ == "__main__":
    main()
