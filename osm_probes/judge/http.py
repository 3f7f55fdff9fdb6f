"""Listening socket -> the probes: a bounded number of connections, none of which can hold up the others."""

import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Final

from osm_probes.foundation.tasks import background_tasks
from osm_probes.health.messages import METRICS
from osm_probes.http.message import JSON, Answer, Handler, Request
from osm_probes.http.server import HttpServer, Limits
from osm_probes.judge.evaluator import ProbeEvaluator
from osm_probes.judge.metrics import JudgeMetrics
from osm_probes.judge.render import as_json, bare, verbose
from osm_probes.judge.result import ProbeResult
from osm_probes.judge.transitions import TransitionLog
from osm_probes.mesh.ports import ALIVE_PATH, READY_PATH

CONNECTIONS: Final = 256
_IDLE: Final = 60.0  # between two requests of one connection, as Prometheus keeps it


@contextlib.asynccontextmanager
async def serving(
    listener: socket.socket, handler: Handler, *, malformed: Callable[[], None], connections: int = CONNECTIONS
) -> AsyncIterator[None]:
    """Accept and answer while this is open; `malformed` is called for each request that never reaches the handler."""
    # A probe that takes long makes room too: a crowd that waits for ready must not keep alive from its answer.
    limits = Limits(connections, idle=_IDLE, busy=0.0)
    async with (
        HttpServer(handler, limits=limits, malformed=malformed) as server,
        background_tasks(accept=server.accept(listener)),
    ):
        yield


_ALIVE_BODY: Final = "Service is alive"
_CHECK_BODY: Final = "ok"


class ProbeHandlers:
    """Answers the paths of one program's probe port. `program_text` asks it about a topic; None = it is silent."""

    def __init__(
        self,
        evaluator: ProbeEvaluator,
        *,
        record: TransitionLog,
        metrics: JudgeMetrics,
        program_text: Callable[[str], Awaitable[str | None]],
    ) -> None:
        self._evaluator = evaluator
        self._record = record
        self._metrics = metrics
        self._program_text = program_text

    async def answer(self, request: Request) -> Answer | None:
        """The answer of the path, whatever the method; None = no response."""
        answer = await self._route(request)
        known = answer is None or answer.status is not HTTPStatus.NOT_FOUND
        self._metrics.answered(
            request.path if known else "other", "none" if answer is None else str(answer.status.value)
        )
        return answer

    def malformed(self) -> None:
        """Count a request that was none."""
        self._metrics.answered("other", "400")

    async def _route(self, request: Request) -> Answer | None:
        judge_state, path = self._evaluator.judge_state, request.path
        if path == ALIVE_PATH:
            return self._alive(request, well=_ALIVE_BODY)
        if path in judge_state.ready_bodies:
            return await self._ready(request, well=judge_state.ready_bodies[path])
        if path == "/metrics":
            text = self._metrics.text(await self._program_text(METRICS), expiries=judge_state.expiries)
            return Answer(HTTPStatus.OK, text)
        if path in judge_state.fixed_bodies:
            return Answer(HTTPStatus.OK, judge_state.fixed_bodies[path])
        if path in judge_state.asked_paths:
            return await self._asked(judge_state.asked_paths[path])
        return await self._check(request)

    async def _asked(self, topic: str) -> Answer:
        text = await self._program_text(topic)
        if text is None:
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, "the program does not answer")
        return Answer(HTTPStatus.OK, text, JSON)

    async def _check(self, request: Request) -> Answer | None:
        """One check of a probe, by its own path."""
        judge_state = self._evaluator.judge_state
        probe, _, check = request.path.rpartition("/")
        if probe == ALIVE_PATH and check == judge_state.alive:
            return self._alive(request, well=_CHECK_BODY)
        if probe == READY_PATH and check in judge_state.ready:
            result = await self._evaluator.ask(check)
            return self._said(result, request=request, known=(check,), well=_CHECK_BODY)
        known = {ALIVE_PATH: (judge_state.alive,), READY_PATH: judge_state.ready}.get(probe)
        body = f"404 no such check; there are: {', '.join(known)}" if known else "404 page not found"
        return Answer(HTTPStatus.NOT_FOUND, body)

    def _alive(self, request: Request, *, well: str) -> Answer | None:
        result = self._evaluator.alive(without=_excluded(request))
        if not result.responds:
            return None
        return self._said(result, request=request, known=(self._evaluator.judge_state.alive,), well=well)

    async def _ready(self, request: Request, *, well: str) -> Answer:
        result = await self._evaluator.ready(without=_excluded(request))
        return self._said(result, request=request, known=self._evaluator.judge_state.ready, well=well)

    def _said(self, result: ProbeResult, *, request: Request, known: tuple[str, ...], well: str) -> Answer:
        warnings = self._evaluator.judge_state.warnings if result.probe == "ready" else ()
        if JSON in request.headers.get("Accept", ""):
            record = self._record
            told = tuple(record.transitions)
            body = as_json(result, since=record.since(result), transitions=told, warnings=warnings)
            return Answer(result.status, body, JSON)
        if any(name == "verbose" for name, _ in request.query):
            text = verbose(result, without=_excluded(request), known=known, well=well, warnings=warnings)
            return Answer(result.status, text)
        return Answer(result.status, bare(result, well=well))


def _excluded(request: Request) -> frozenset[str]:
    return frozenset(value for name, value in request.query if name == "exclude")
