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

from osm_probes.canary.ads import ask_ads
from osm_probes.canary.webhook import ask_bundle, ask_certificate, ask_review
from osm_probes.foundation.logs import LogWriter, configure_logs
from osm_probes.foundation.tasks import background_tasks
from osm_probes.health.checks import Question, UnhealthyError, coalesced
from osm_probes.health.heartbeat import Heartbeat
from osm_probes.health.judge_state import AdsCanary, JudgeState, WebhookCanary
from osm_probes.health.messages import Beat, Transition
from osm_probes.health.stacks import StackFile
from osm_probes.judge.evaluator import ProbeEvaluator
from osm_probes.judge.grpc_health.server import GRPC_CONNECTIONS, GrpcHealth
from osm_probes.judge.hang import HangWatch
from osm_probes.judge.http import CONNECTIONS, ProbeHandlers, serving
from osm_probes.judge.metrics import JudgeMetrics
from osm_probes.judge.program_link import ProgramLink
from osm_probes.judge.result import UNSERVED, ProbeResult
from osm_probes.judge.transitions import TransitionLog, VerdictWatch
from osm_probes.runtime.judge_process import InheritedSockets

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
    program, pair, http, heartbeat, stacks, *grpc = map(int, sys.argv[2:])
    _follow(program)
    writer = configure_logs(sys.argv[1], component="judge")
    listeners = [socket.socket(fileno=descriptor) for descriptor in (http, *grpc)]
    sockets = InheritedSockets(listeners[0], Heartbeat(heartbeat), StackFile(stacks), *listeners[1:])
    asyncio.run(_judge(sockets, program=program, pair=socket.socket(fileno=pair), writer=writer))
    writer.flush(within=0.2)


def _follow(program: int) -> None:
    """Die when the program does, even if this process is stuck."""
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != program:  # it died before the call
        sys.exit(1)


async def _judge(sockets: InheritedSockets, *, program: int, pair: socket.socket, writer: LogWriter) -> None:
    link = await ProgramLink.over(pair)
    if (judge_state := await link.first()) is None:
        return
    metrics, verdicts = JudgeMetrics(), VerdictWatch()

    def tell(transition: Transition) -> None:
        metrics.changed(transition)
        link.say(transition)

    record = TransitionLog(tell)

    def observe(result: ProbeResult) -> None:
        metrics.ruled(result)
        record.note(result)
        verdicts.note(result)

    def brief(newest: JudgeState) -> None:
        writer.level = newest.log_level
        evaluator.brief(newest)

    evaluator = ProbeEvaluator(
        sockets.heartbeat, judge_state=judge_state, dials=dials(lambda: evaluator.judge_state), observe=observe
    )
    probes = ProbeHandlers(evaluator, record=record, metrics=metrics, program_text=link.text)
    health = GrpcHealth(evaluator, verdicts, answered=metrics.answered)
    hang = HangWatch(evaluator, stacks=sockets.stacks, program=program)
    own = _OWN_DESCRIPTORS + (GRPC_CONNECTIONS if sockets.grpc else 0)
    async with (
        serving(sockets.http, probes.answer, malformed=probes.malformed, connections=_room(own)),
        health.serving(sockets.grpc) if sockets.grpc else contextlib.nullcontext(),
        background_tasks(beat=_beat(evaluator, link), ask=_ask(evaluator), hang=hang.run()),
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


async def _beat(evaluator: ProbeEvaluator, link: ProgramLink) -> None:
    while True:
        link.say(Beat())
        evaluator.alive()
        await asyncio.sleep(_BEAT)


async def _ask(evaluator: ProbeEvaluator) -> None:
    """Ask what nobody asks: 0.5 s after a change and each 5 s, so that metrics and transitions are not stale."""
    while True:
        if time.monotonic_ns() - evaluator.ready_asked_at > _UNASKED * 1e9:
            await evaluator.ready()
        await asyncio.sleep(_BEAT)


def dials(judge_state: Callable[[], JudgeState]) -> Mapping[str, Question]:
    """The questions that open a connection, by check: each asked once at a time, its answer kept for 250 ms."""

    def question(
        newest: Callable[[JudgeState], Canary | None], ask: Callable[[Canary, float], Awaitable[None]]
    ) -> Question:
        def known() -> Canary:
            if (canary := newest(judge_state())) is None:
                raise UnhealthyError(UNSERVED)
            return canary

        async def once() -> None:
            canary = known()
            try:
                await ask(canary, judge_state().canary_limit)
            except UnhealthyError:
                # Certificates changed while it was asked: that no is not a no.
                if (newer := known()) == canary:
                    raise
                await ask(newer, judge_state().canary_limit)

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
