"""The judge: the process of either program that answers its probes. Only the program's JudgeSupervisor starts it."""

import asyncio
import contextlib
import resource
import socket
import sys
import time
from typing import Final

from osm_probes.foundation.listen import SocketLostError
from osm_probes.foundation.logs import configure_logs, logger, set_log_level
from osm_probes.foundation.tasks import background_tasks
from osm_probes.health.inherited_sockets import InheritedSockets
from osm_probes.health.judge_state import JudgeState
from osm_probes.health.messages import JudgeBeat, Transition
from osm_probes.judge.evaluator import ProbeEvaluator
from osm_probes.judge.grpc_health.server import GRPC_CONNECTIONS, GrpcHealth
from osm_probes.judge.hang import HangWatch
from osm_probes.judge.http import CONNECTIONS, DEBUG_CONNECTIONS, DebugHandlers, ProbeHandlers, serving
from osm_probes.judge.metrics import JudgeMetrics
from osm_probes.judge.program_link import ProgramLink
from osm_probes.judge.program_view import ProgramView
from osm_probes.judge.result import ProbeResult
from osm_probes.judge.transitions import TransitionLog, VerdictWatch

_BEAT_EVERY: Final = 0.5
_ASK_EVERY: Final = 5.0
_OWN_DESCRIPTORS: Final = (
    48  # the loop, connections of checks, and clients' connections that are being accepted or dropped
)


def main() -> None:
    """Answer probes until the program ends.

    Arguments: the log level, the program's process id, and the descriptors of the socket pair and of InheritedSockets.
    The signals that stop the program are blocked from the start on: the judge ends last, when the program closes the
    pair.
    """
    program, pair, *inherited = map(int, sys.argv[2:])
    writer = configure_logs(sys.argv[1])
    sockets = InheritedSockets.inherited(*inherited)
    status = 0
    try:
        asyncio.run(_judge(sockets, program=program, pair=socket.socket(fileno=pair)))
    except SocketLostError as error:
        # Only the program can listen again: it must have the socket for all judges to come.
        logger("judge").error("the judge ends, and its program listens again", error=str(error))
        status = 1
    writer.flush(within=0.2)
    sys.exit(status)


async def _judge(sockets: InheritedSockets, *, program: int, pair: socket.socket) -> None:
    link = await ProgramLink.over(pair)
    if (judge_state := await link.first()) is None:
        return
    metrics, watch = JudgeMetrics(), VerdictWatch()

    def notify(transition: Transition) -> None:
        metrics.count_transition(transition)
        link.send(transition)

    transitions = TransitionLog(notify)

    def observe(result: ProbeResult) -> None:
        metrics.observe(result)
        transitions.observe(result)
        watch.observe(result)

    def update(newest: JudgeState) -> None:
        set_log_level(newest.log_level)
        view.update(newest)

    view = ProgramView(sockets.heartbeat, judge_state)
    evaluator = ProbeEvaluator(view, observe=observe)
    handlers, debug = (
        kind(view, evaluator, transitions=transitions, metrics=metrics, program_page=link.page)
        for kind in (ProbeHandlers, DebugHandlers)
    )
    grpc_health = GrpcHealth(evaluator, watch, count=metrics.count_request)
    hang = HangWatch(view, stacks=sockets.stacks, program=program)
    others = (GRPC_CONNECTIONS if sockets.grpc else 0) + (DEBUG_CONNECTIONS if sockets.debug else 0)
    connections = _connections_beside(_OWN_DESCRIPTORS + others)
    async with (
        serving(sockets.http, handlers.answer, malformed=handlers.malformed, connections=connections),
        grpc_health.serving(sockets.grpc) if sockets.grpc else contextlib.nullcontext(),
        serving(sockets.debug, debug.answer, malformed=debug.malformed, connections=DEBUG_CONNECTIONS)
        if sockets.debug
        else contextlib.nullcontext(),
        background_tasks(beat=_beat(evaluator, link), ask=_ask_regularly(evaluator), hang=hang.run()),
    ):
        await link.receive(update)


def _connections_beside(own: int) -> int:
    """How many HTTP connections fit into the limit of open files beside `own` descriptors; raises the soft limit.

    A program with a low limit passes it on to its judge.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = CONNECTIONS + own
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(1, min(CONNECTIONS, soft - own))
    return CONNECTIONS


async def _beat(evaluator: ProbeEvaluator, link: ProgramLink) -> None:
    while True:
        link.send(JudgeBeat())
        evaluator.alive()
        await asyncio.sleep(_BEAT_EVERY)


async def _ask_regularly(evaluator: ProbeEvaluator) -> None:
    """Ask for readiness 0.5 s after a change, and every 5 s if nobody else does, so that metrics are not stale."""
    while True:
        if time.monotonic_ns() - evaluator.ready_checked_at > _ASK_EVERY * 1e9:
            await evaluator.ready()
        await asyncio.sleep(_BEAT_EVERY)
