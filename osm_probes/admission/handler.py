"""Request on port 9090 -> answer: /healthz for all clients, reviews over TLS only."""

import hmac
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
    limit of a request's body, in seconds. canary_token: if not empty, reviews need a verified client certificate, or
    this token, which the canary sends because it has no such certificate.
    """

    def __init__(
        self, webhook: Webhook, *, can_inject: CheckFunction, body_within: float = 3.0, canary_token: str = ""
    ) -> None:
        self._webhook = webhook
        self._can_inject = can_inject
        self._body_within = body_within
        self._authorization = f"Bearer {canary_token}" if canary_token else ""

    async def __call__(self, request: Request) -> Answer | None:
        """The answer to one request. Raises RefusedRequestError."""
        if request.path == HEALTHZ_PATH:
            results = await run_checks({"webhook": self._can_inject}, within=_HEALTH_WITHIN)
            return Answer(HTTPStatus.OK, "Health OK") if results["webhook"].healthy else None
        if request.path == REVIEW_PATH and request.secure:
            return await self._review(request)
        raise RefusedRequestError(HTTPStatus.NOT_FOUND, "404 page not found")

    async def _review(self, request: Request) -> Answer:
        if not self._may_review(request):
            text = "a review needs a client certificate of the API server: see --client-ca"
            raise RefusedRequestError(HTTPStatus.FORBIDDEN, text)
        if request.method != "POST":
            text = f"{request.method} is not supported: POST an AdmissionReview"
            raise RefusedRequestError(HTTPStatus.METHOD_NOT_ALLOWED, text)
        content_type = request.headers.get("Content-Type", "none")
        if content_type.partition(";")[0].strip().lower() != JSON:
            text = f"content type {content_type!r} is not supported: send {JSON}"
            raise RefusedRequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, text)
        try:
            body = await request.body(limit=REVIEW_LIMIT, within=self._body_within)
            answer = await self._webhook.answer(body, client=request.client)
        except MalformedReviewError as error:
            raise RefusedRequestError(HTTPStatus.BAD_REQUEST, str(error)) from error
        return Answer(HTTPStatus.OK, answer.decode(), JSON)

    def _may_review(self, request: Request) -> bool:
        sent = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        known = self._authorization.encode()
        return not known or request.verified or hmac.compare_digest(sent, known)
