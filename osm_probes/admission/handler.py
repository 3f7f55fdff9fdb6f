"""Request on port 9090 -> answer: /healthz for all clients, reviews over TLS only."""

from http import HTTPStatus
from typing import Final

from osm_probes.admission.review import MalformedReviewError
from osm_probes.admission.webhook import Webhook
from osm_probes.health.checks import CheckFunction, run_checks
from osm_probes.http.message import JSON, Answer, RefusedRequestError, Request
from osm_probes.mesh.ports import HEALTHZ_PATH, REVIEW_PATH

REVIEW_LIMIT: Final = 3 * 1024 * 1024
"""The longest body, in bytes: what the API server itself accepts for one object."""

_HEALTH_WITHIN: Final = 4.0  # the chart's probes wait 5


class WebhookHandler:
    """Answers requests.

    can_inject: the check of /healthz; if it fails, the connection is closed without a response. body_within: the time
    limit of a request's body, in seconds.
    """

    def __init__(self, webhook: Webhook, *, can_inject: CheckFunction, body_within: float = 10.0) -> None:
        self._webhook = webhook
        self._can_inject = can_inject
        self._body_within = body_within

    async def __call__(self, request: Request) -> Answer | None:
        """The answer to one request. Raises RefusedRequestError."""
        if request.path == HEALTHZ_PATH:
            results = await run_checks({"webhook": self._can_inject}, within=_HEALTH_WITHIN)
            return Answer(HTTPStatus.OK, "Health OK") if results["webhook"].healthy else None
        if request.path == REVIEW_PATH and request.secure:
            return await self._review(request)
        raise RefusedRequestError(HTTPStatus.NOT_FOUND, "404 page not found")

    async def _review(self, request: Request) -> Answer:
        if request.method != "POST":
            text = f"{request.method} is not supported: POST an AdmissionReview"
            raise RefusedRequestError(HTTPStatus.METHOD_NOT_ALLOWED, text)
        content_type = request.headers.get("Content-Type", "none")
        if content_type.partition(";")[0].strip().lower() != JSON:
            text = f"content type {content_type!r} is not supported: send {JSON}"
            raise RefusedRequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, text)
        try:
            answer = await self._webhook.answer(await request.body(limit=REVIEW_LIMIT, within=self._body_within))
        except MalformedReviewError as error:
            raise RefusedRequestError(HTTPStatus.BAD_REQUEST, str(error)) from error
        return Answer(HTTPStatus.OK, answer.decode(), JSON)
