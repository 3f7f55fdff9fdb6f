"""Request on 9090 -> answer: `/healthz` for everybody, reviews over TLS only."""

from http import HTTPStatus
from typing import Final

from osm_probes.admission.review import MalformedReviewError
from osm_probes.admission.webhook import Webhook
from osm_probes.health.checks import Check, Question, examine
from osm_probes.http.message import JSON, Answer, RefusedRequestError, Request
from osm_probes.mesh.ports import HEALTHZ_PATH, REVIEW_PATH

REVIEW_LIMIT: Final = 3 * 1024 * 1024
"""What the API server itself takes for one object, in bytes."""

_BODY_WITHIN: Final = 10.0
_HEALTH_WITHIN: Final = 4.0  # the chart's probes wait 5


class Handler:
    """Answers requests. `can_inject`: the question behind `/healthz`; its no is no response at all."""

    def __init__(self, webhook: Webhook, *, can_inject: Question) -> None:
        self._webhook = webhook
        self._check = Check("webhook", can_inject)

    async def __call__(self, request: Request) -> Answer | None:
        """The answer to one request. Raises RefusedRequestError."""
        if request.path == HEALTHZ_PATH:
            (report,) = await examine([self._check], within=_HEALTH_WITHIN)
            return Answer(HTTPStatus.OK, "Health OK") if report.healthy else None
        if request.path == REVIEW_PATH and request.secure:
            return await self._review(request)
        raise RefusedRequestError(HTTPStatus.NOT_FOUND, "404 page not found")

    async def _review(self, request: Request) -> Answer:
        if request.method != "POST":
            words = f"{request.method} is not understood here: POST an AdmissionReview"
            raise RefusedRequestError(HTTPStatus.METHOD_NOT_ALLOWED, words)
        stated = request.headers.get("Content-Type", "none")
        if stated.partition(";")[0].strip().lower() != JSON:
            words = f"content type {stated!r}: only {JSON} is understood"
            raise RefusedRequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, words)
        try:
            answer = await self._webhook.answer(await request.body(limit=REVIEW_LIMIT, within=_BODY_WITHIN))
        except MalformedReviewError as error:
            raise RefusedRequestError(HTTPStatus.BAD_REQUEST, str(error)) from error
        return Answer(HTTPStatus.OK, answer.decode(), JSON)
