"""Request -> ruling -> answer: the paths of 9091."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from osm_probes.http.message import JSON, Answer, Request
from osm_probes.probes.bench import Bench
from osm_probes.probes.link import METRICS
from osm_probes.probes.metrics import JudgeMetrics
from osm_probes.probes.record import Record
from osm_probes.probes.verdict import Ruling
from osm_probes.probes.words import as_json, bare, verbose

ALIVE: Final = "/health/alive"
READY: Final = "/health/ready"

_ALIVE_BODY: Final = "Service is alive"
_CHECK_BODY: Final = "ok"


class Probes:
    """Answers the paths of one program's probe port. `program_text` asks it about a topic; None = it is silent."""

    def __init__(
        self,
        bench: Bench,
        *,
        record: Record,
        metrics: JudgeMetrics,
        program_text: Callable[[str], Awaitable[str | None]],
    ) -> None:
        self._bench = bench
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
        briefing, path = self._bench.briefing, request.path
        if path == ALIVE:
            return self._alive(request, well=_ALIVE_BODY)
        if path in briefing.ready_bodies:
            return await self._ready(request, well=briefing.ready_bodies[path])
        if path == "/metrics":
            text = self._metrics.text(await self._program_text(METRICS), expiries=briefing.expiries)
            return Answer(HTTPStatus.OK, text)
        if path in briefing.fixed_bodies:
            return Answer(HTTPStatus.OK, briefing.fixed_bodies[path])
        if path in briefing.asked_paths:
            return await self._asked(briefing.asked_paths[path])
        return await self._check(request)

    async def _asked(self, topic: str) -> Answer:
        text = await self._program_text(topic)
        if text is None:
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, "the program does not answer")
        return Answer(HTTPStatus.OK, text, JSON)

    async def _check(self, request: Request) -> Answer | None:
        """One check of a probe, by its own path."""
        briefing = self._bench.briefing
        probe, _, check = request.path.rpartition("/")
        if probe == ALIVE and check == briefing.alive:
            return self._alive(request, well=_CHECK_BODY)
        if probe == READY and check in briefing.ready:
            ruling = await self._bench.ask(check)
            return self._said(ruling, request=request, known=(check,), well=_CHECK_BODY)
        known = {ALIVE: (briefing.alive,), READY: briefing.ready}.get(probe)
        body = f"404 no such check; there are: {', '.join(known)}" if known else "404 page not found"
        return Answer(HTTPStatus.NOT_FOUND, body)

    def _alive(self, request: Request, *, well: str) -> Answer | None:
        ruling = self._bench.alive(without=_excluded(request))
        if not ruling.responds:
            return None
        return self._said(ruling, request=request, known=(self._bench.briefing.alive,), well=well)

    async def _ready(self, request: Request, *, well: str) -> Answer:
        ruling = await self._bench.ready(without=_excluded(request))
        return self._said(ruling, request=request, known=self._bench.briefing.ready, well=well)

    def _said(self, ruling: Ruling, *, request: Request, known: tuple[str, ...], well: str) -> Answer:
        warnings = self._bench.briefing.warnings if ruling.probe == "ready" else ()
        if JSON in request.headers.get("Accept", ""):
            record = self._record
            told = tuple(record.transitions)
            body = as_json(ruling, since=record.since(ruling), transitions=told, warnings=warnings)
            return Answer(ruling.status, body, JSON)
        if any(name == "verbose" for name, _ in request.query):
            text = verbose(ruling, without=_excluded(request), known=known, well=well, warnings=warnings)
            return Answer(ruling.status, text)
        return Answer(ruling.status, bare(ruling, well=well))


def _excluded(request: Request) -> frozenset[str]:
    return frozenset(value for name, value in request.query if name == "exclude")
