"""Port 9091: request -> probe result -> answer, and the other pages of the port; port 9092 adds what has names."""

import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Final

from osm_probes.foundation.problem import Problem
from osm_probes.foundation.tasks import background_tasks
from osm_probes.health.messages import METRICS
from osm_probes.http.limits import Limits
from osm_probes.http.message import JSON, Answer, Handler, Request
from osm_probes.http.server import HttpServer
from osm_probes.judge.evaluator import ProbeEvaluator
from osm_probes.judge.metrics import JudgeMetrics
from osm_probes.judge.program_view import ProgramView
from osm_probes.judge.result import ProbeResult
from osm_probes.judge.transitions import TransitionLog
from osm_probes.mesh.ports import ALIVE_PATH, METRICS_PATH, READY_PATH

CONNECTIONS: Final = 256
DEBUG_CONNECTIONS: Final = 8

_IDLE: Final = 60.0  # Prometheus keeps a connection between two scrapes
_ALIVE_BODY: Final = "Service is alive"
_CHECK_BODY: Final = "ok"
_LOOPBACK_HOSTS: Final = frozenset({"", "localhost", "127.0.0.1", "[::1]"})
_NOT_LOOPBACK: Final = "403 the debug port answers only requests for localhost, 127.0.0.1 or [::1]"


@contextlib.asynccontextmanager
async def serving(
    listener: socket.socket, handler: Handler, *, malformed: Callable[[], None], connections: int = CONNECTIONS
) -> AsyncIterator[None]:
    """Serve while the block lasts; `malformed` is called for each request that never reaches the handler.

    Raises SocketLostError.
    """
    # Slow requests are dropped as well, so that many requests for ready cannot keep out one for alive.
    limits = Limits(connections, idle=_IDLE, busy=0.0)
    async with (
        HttpServer(handler, limits=limits, malformed=malformed) as server,
        background_tasks(accept=server.accept(listener)),
    ):
        yield


class ProbeHandlers:
    """Answers the paths of one program's probe port, for everybody: no answer has names of the mesh's objects.

    program_page: a page that only the program can write, by its name; None if the program does not answer.
    """

    def __init__(
        self,
        program: ProgramView,
        evaluator: ProbeEvaluator,
        *,
        transitions: TransitionLog,
        metrics: JudgeMetrics,
        program_page: Callable[[str], Awaitable[str | None]],
    ) -> None:
        self._program = program
        self._evaluator = evaluator
        self._transitions = transitions
        self._metrics = metrics
        self._program_page = program_page

    async def answer(self, request: Request) -> Answer | None:
        """The answer of the path, whatever the method; None means no response."""
        answer = await self._route(request)
        known = answer is None or answer.status is not HTTPStatus.NOT_FOUND
        status = "none" if answer is None else str(answer.status.value)
        self._metrics.count_request(request.path if known else "other", status)
        return answer

    def malformed(self) -> None:
        """Count a request that the parser refused."""
        self._metrics.count_request("other", "400")

    async def _route(self, request: Request) -> Answer | None:
        state, path = self._program.judge_state, request.path
        if path == ALIVE_PATH:
            return self._alive(request, ok=_ALIVE_BODY)
        if path in state.ready_bodies:
            result = await self._evaluator.ready(exclude=_excluded(request))
            return self._render(result, request=request, known=state.ready, ok=state.ready_bodies[path])
        if path == METRICS_PATH:
            text = self._metrics.text(await self._program_page(METRICS), expiries=state.expiries)
            return Answer(HTTPStatus.OK, text)
        if path in state.fixed_bodies:
            return Answer(HTTPStatus.OK, state.fixed_bodies[path])
        return await self._check(request)

    def _shown(self, result: ProbeResult) -> ProbeResult:
        return result

    def _warning(self, problem: Problem) -> str:
        return problem.summary

    async def _check(self, request: Request) -> Answer | None:
        """One check of a probe, which has a path of its own."""
        state = self._program.judge_state
        probe, _, check = request.path.rpartition("/")
        if probe == ALIVE_PATH and check == state.alive:
            return self._alive(request, ok=_CHECK_BODY)
        if probe == READY_PATH and check in state.ready:
            result = await self._evaluator.run_only(check)
            return self._render(result, request=request, known=(check,), ok=_CHECK_BODY)
        known = {ALIVE_PATH: (state.alive,), READY_PATH: state.ready}.get(probe)
        body = f"404 no such check; there are: {', '.join(known)}" if known else "404 page not found"
        return Answer(HTTPStatus.NOT_FOUND, body)

    def _alive(self, request: Request, *, ok: str) -> Answer | None:
        result = self._evaluator.alive(exclude=_excluded(request))
        if not result.responds:
            return None
        return self._render(result, request=request, known=(self._program.judge_state.alive,), ok=ok)

    def _render(self, result: ProbeResult, *, request: Request, known: tuple[str, ...], ok: str) -> Answer:
        problems = self._program.judge_state.warnings if result.probe == "ready" else ()
        warnings = tuple(map(self._warning, problems))
        result = self._shown(result)
        if JSON in request.headers.get("Accept", ""):
            since, transitions = self._transitions.since(result), tuple(self._transitions.newest)
            return Answer(result.status, result.json(since=since, transitions=transitions, warnings=warnings), JSON)
        if any(name == "verbose" for name, _ in request.query):
            text = result.verbose(excluded=_excluded(request), known=known, ok=ok, warnings=warnings)
            return Answer(result.status, text)
        return Answer(result.status, result.bare(ok=ok))


class DebugHandlers(ProbeHandlers):
    """Answers the paths of the debug port, which listens on loopback alone: the same, with names, and more pages."""

    async def answer(self, request: Request) -> Answer | None:
        """The answer of the path. A browser of this machine must not read it for a foreign site, so the host counts."""
        if _host(request) not in _LOOPBACK_HOSTS:
            return Answer(HTTPStatus.FORBIDDEN, _NOT_LOOPBACK)
        return await super().answer(request)

    async def _route(self, request: Request) -> Answer | None:
        name = self._program.judge_state.debug_pages.get(request.path)
        return await super()._route(request) if name is None else await self._page(name)

    async def _page(self, name: str) -> Answer:
        text = await self._program_page(name)
        if text is None:
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, "the program does not answer")
        return Answer(HTTPStatus.OK, text, JSON)

    def _shown(self, result: ProbeResult) -> ProbeResult:
        return result.detailed

    def _warning(self, problem: Problem) -> str:
        return str(problem)


def _host(request: Request) -> str:
    """The host of the header, without the port."""
    host = request.headers.get("Host", "").lower()
    return host if host.endswith("]") else host.rpartition(":")[0] or host


def _excluded(request: Request) -> frozenset[str]:
    return frozenset(value for name, value in request.query if name == "exclude")
