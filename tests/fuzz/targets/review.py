"""AdmissionReviews: the answer is valid JSON whose patch applies, or MalformedReviewError."""

import asyncio
import base64
import contextlib
import json
from collections.abc import Iterator
from typing import Any

import jsonpatch
from hypothesis import strategies as st

from osm_probes.admission.review import MalformedReviewError
from osm_probes.admission.webhook import Webhook
from tests.admission.fakes import FakeBootstrapStore, FakeNamespaces
from tests.admission.pods import ENROLLED, OPTIONS, UUID, annotated, container, pod, review
from tests.fuzz.mutations import near_bytes, near_json
from tests.fuzz.target import Check, FuzzTarget

_PROBE = {"httpGet": {"path": "/health", "port": "web"}, "periodSeconds": 5}
_PODS = [
    pod(),
    pod(container(ports=[{"name": "web", "containerPort": 80}], livenessProbe=_PROBE, readinessProbe=_PROBE)),
    pod(
        container(startupProbe={"tcpSocket": {"port": 80}}), initContainers=[container("init")], volumes=[{"name": "v"}]
    ),
    annotated(
        outbound_port_exclusion_list="80,443", outbound_ip_range_exclusion_list="10.0.0.0/8", sidecar_injection="yes"
    ),
]
_REVIEWS = [review(original) for original in _PODS]


@contextlib.contextmanager
def _opened() -> Iterator[Check]:
    # Fakes of the namespaces and the store, so that each failure is one of the webhook itself.
    webhook = Webhook(
        OPTIONS,
        namespaces=FakeNamespaces(bookstore=ENROLLED),
        within=10,
        bootstrap_store=FakeBootstrapStore(),
        new_uuid=lambda: UUID,
    )
    with asyncio.Runner() as runner:

        def check(content: bytes) -> None:
            try:
                answer = json.loads(runner.run(webhook.answer(content)))["response"]
            except MalformedReviewError as error:
                assert str(error).encode(), "an error can be sent"
                return
            _check_answer(answer, json.loads(content)["request"])

        yield check


def _check_answer(answer: dict[str, Any], request: dict[str, Any]) -> None:
    assert answer["uid"] == request["uid"]
    if not answer["allowed"]:
        assert 400 <= answer["status"]["code"] < 500, answer["status"]["message"]
    elif "patch" in answer:
        patch = base64.b64decode(answer["patch"]).decode()
        patched = jsonpatch.apply_patch(request["object"], patch)
        assert len(patched["spec"]["containers"]) > len(request["object"]["spec"]["containers"])


_structured = near_json(_REVIEWS).map(lambda value: json.dumps(value).encode())
_bytes = near_bytes([json.dumps(value).encode() for value in _REVIEWS])
TARGETS = (FuzzTarget("review", st.binary(max_size=100) | _structured | _bytes, _opened),)
