from datetime import UTC, datetime
from urllib.parse import parse_qsl

import msgspec
import pytest

from osm_probes.foundation.problem import Problem
from osm_probes.health.judge_state import JudgeState
from osm_probes.health.lifecycle import Phase
from osm_probes.health.messages import Transition
from osm_probes.http.message import Answer, Request
from osm_probes.judge.http import DebugHandlers, ProbeHandlers
from osm_probes.judge.metrics import JudgeMetrics
from osm_probes.judge.transitions import TransitionLog
from osm_probes.runtime.initial_judge_state import CONTROLLER, INJECTOR
from tests.judge.evaluators import HEALTHY, evaluator_of, no, view
from tests.log_capture import capture_logs

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UNKNOWN = msgspec.structs.replace(CONTROLLER, canary_limit=0.01)
INJECTOR_WITH_VERSION = msgspec.structs.replace(INJECTOR, fixed_bodies={"/version": "{}"})


def request(target: str, *, accept: str = "*/*", host: str = "localhost:9091") -> Request:
    path, _, query = target.partition("?")
    headers = {"Accept": accept, "Host": host}
    return Request(path, query=tuple(parse_qsl(query, keep_blank_values=True)), headers=headers)


async def page(name: str) -> str | None:
    return {"metrics": "osm_x 1\n"}.get(name)


async def ask(
    path: str,
    judge_state: JudgeState = HEALTHY,
    *,
    phase: Phase = Phase.SERVING,
    failing: str = "",
    metrics: JudgeMetrics | None = None,
    accept: str = "*/*",
    host: str = "localhost",
    kind: type[ProbeHandlers] = ProbeHandlers,
) -> Answer | None:
    """The answer of a path in this phase, where the connection of the check `failing` fails."""
    transitions = TransitionLog(lambda _: None, now=lambda: AT)
    program = view(judge_state, phase=phase)
    evaluator = evaluator_of(program, connections={failing: no}, observe=transitions.observe)
    handlers = kind(program, evaluator, transitions=transitions, metrics=metrics or JudgeMetrics(), program_page=page)
    return await handlers.answer(request(path, accept=accept, host=host))


NOT_READY = "Readiness probe for {} indicates it is not ready"

ANSWERS = [
    (HEALTHY, Phase.SERVING, "", "/health/alive", 200, "Service is alive"),
    (HEALTHY, Phase.SERVING, "", "/health/ready", 200, "Service is ready"),
    (HEALTHY, Phase.SERVING, "ads", "/health/alive", 200, "Service is alive"),
    (HEALTHY, Phase.SERVING, "ads", "/health/ready", 503, NOT_READY.format("ADS")),
    (HEALTHY, Phase.STARTING, "", "/health/ready", 503, NOT_READY.format("ADS")),
    (HEALTHY, Phase.FAILED, "", "/health/alive", 503, "Liveness probe for ADS indicates it is not alive"),
    (HEALTHY, Phase.FAILED, "", "/health/ready", 503, NOT_READY.format("ADS")),
    (HEALTHY, Phase.RECOVERING, "", "/health/alive", 200, "Service is alive"),
    (HEALTHY, Phase.RECOVERING, "", "/health/ready", 503, NOT_READY.format("ADS")),
    (HEALTHY, Phase.DRAINING, "", "/health/alive", 200, "Service is alive"),
    (HEALTHY, Phase.DRAINING, "", "/health/ready", 503, NOT_READY.format("draining")),
    (UNKNOWN, Phase.SERVING, "", "/health/ready", 503, NOT_READY.format("mesh")),
    (INJECTOR, Phase.SERVING, "", "/health/alive", 200, "Service is alive"),
    (INJECTOR, Phase.SERVING, "", "/health/ready", 200, "Service is ready"),
    (INJECTOR, Phase.SERVING, "", "/healthz", 200, "Health OK"),
    (INJECTOR, Phase.SERVING, "bundle", "/healthz", 503, NOT_READY.format("bundle")),
    (INJECTOR, Phase.FAILED, "", "/health/alive", 503, "Liveness probe for webhook indicates it is not alive"),
    (INJECTOR_WITH_VERSION, Phase.STARTING, "", "/version", 200, "{}"),
    (INJECTOR_WITH_VERSION, Phase.STARTING, "", "/smi/version", 404, "404 page not found"),
    (HEALTHY, Phase.SERVING, "", "/healthz", 404, "404 page not found"),
    (HEALTHY, Phase.SERVING, "", "/health/alive/", 404, "404 no such check; there are: ads"),
    (HEALTHY, Phase.SERVING, "", "/health/alive/mesh", 404, "404 no such check; there are: ads"),
    (INJECTOR, Phase.SERVING, "", "/health/ready/x", 404, "404 no such check; there are: certificate, bundle, review"),
    (HEALTHY, Phase.SERVING, "ads", "/health/ready/mesh", 200, "ok"),
    (HEALTHY, Phase.SERVING, "ads", "/health/ready/ads", 503, NOT_READY.format("ADS")),
    (HEALTHY, Phase.SERVING, "", "/health/alive/ads", 200, "ok"),
    (HEALTHY, Phase.SERVING, "", "/", 404, "404 page not found"),
]


@pytest.mark.parametrize(("judge_state", "phase", "failing", "path", "status", "body"), ANSWERS)
async def test_answers_are_the_contracts(
    judge_state: JudgeState, phase: Phase, failing: str, path: str, status: int, body: str
) -> None:
    answer = await ask(path, judge_state, phase=phase, failing=failing)
    assert answer is not None
    assert (answer.status, answer.body) == (status, body)


@pytest.mark.parametrize("judge_state", [HEALTHY, INJECTOR])
async def test_alive_gives_no_response_before_it_has_served(judge_state: JudgeState) -> None:
    assert await ask("/health/alive", judge_state, phase=Phase.STARTING) is None


async def test_metrics_are_answered_before_it_has_served() -> None:
    answer = await ask("/metrics", phase=Phase.STARTING)
    assert answer is not None
    assert answer.body.startswith("osm_x 1\n# HELP osm_health_check ")


async def test_a_page_of_a_program_that_does_not_answer_is_503() -> None:
    answer = await ask("/debug/proxies", kind=DebugHandlers)
    assert answer is not None
    assert (answer.status, answer.body) == (503, "the program does not answer")


async def test_the_probe_port_has_no_page_with_names() -> None:
    answer = await ask("/debug/proxies")
    assert answer is not None
    assert (answer.status, answer.body) == (404, "404 page not found")


NAMES = "Pod shop/till of shop/cashier"
NAMED = msgspec.structs.replace(
    HEALTHY,
    problems={**HEALTHY.problems, "mesh": Problem("invalid objects: 1", f"{NAMES}: no")},
    warnings=(Problem("the last good mesh is served", f"the last good mesh is served: {NAMES}"),),
    canary_limit=0.01,
)


@pytest.mark.parametrize("accept", ["*/*", "application/json"])
@pytest.mark.parametrize("path", ["/health/ready?verbose", "/health/ready/mesh?verbose", "/health/alive?verbose"])
async def test_names_are_on_the_debug_port_and_not_on_the_probe_port(path: str, accept: str) -> None:
    anybody = await ask(path, NAMED, accept=accept)
    operator = await ask(path, NAMED, accept=accept, kind=DebugHandlers)
    assert anybody is not None
    assert operator is not None
    assert anybody.status == operator.status, "both ports have the same verdict"
    assert "shop" not in anybody.body
    assert (NAMES in operator.body) == ("ready" in path)


async def test_the_transitions_on_the_probe_port_have_no_names_and_the_log_has_them() -> None:
    noticed: list[Transition] = []
    program = view(HEALTHY)
    transitions = TransitionLog(noticed.append, now=lambda: AT)
    evaluator = evaluator_of(program, observe=transitions.observe)
    with capture_logs() as logs:
        await evaluator.ready()
        program.update(NAMED)
        result = await evaluator.ready()
    assert "shop" not in result.json(since=AT, transitions=tuple(transitions.newest))
    assert [transition.reason for transition in noticed] == ["invalid objects: 1"], "an Event has this reason"
    assert [(line["reason"], line["detail"]) for line in logs] == [("invalid objects: 1", f"{NAMES}: no")]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("localhost:9092", 503), ("localhost", 503), ("LOCALHOST", 503), ("127.0.0.1:1", 503), ("[::1]:9092", 503)),
        *(
            ("[::1]", 503),
            ("", 503),
            ("evil.example:9092", 403),
            ("10.0.0.7:9092", 403),
            ("localhost.evil.example", 403),
        ),
    ],
)
async def test_the_debug_port_refuses_a_browser_that_was_sent_there_by_a_foreign_name(host: str, status: int) -> None:
    answer = await ask("/debug/proxies", host=host, kind=DebugHandlers)
    assert answer is not None
    assert answer.status == status


async def test_requests_are_counted_by_known_paths_alone() -> None:
    metrics = JudgeMetrics()
    await ask("/health/alive", phase=Phase.STARTING, metrics=metrics)
    await ask("/anything", metrics=metrics)
    text = metrics.text("", expiries={})
    assert 'osm_probe_requests_total{code="none",path="/health/alive"} 1.0' in text
    assert 'osm_probe_requests_total{code="404",path="other"} 1.0' in text
    assert "anything" not in text


async def test_verbose_has_a_line_for_each_check() -> None:
    answer = await ask("/health/ready?verbose&exclude=capacity&exclude=nothing", failing="ads")
    assert answer is not None
    assert answer.status == 503
    assert answer.body.splitlines() == [
        "[-]ads failed: refused",
        "[+]mesh ok",
        "[+]updates ok",
        "[+]certificates ok",
        "[+]draining ok",
        "[+]capacity excluded",
        "warn: no check nothing to exclude",
        "Readiness probe for ADS indicates it is not ready",
    ]


@pytest.mark.parametrize(
    ("target", "phase", "body"),
    [
        ("/health/ready?exclude=ads", Phase.SERVING, "Service is ready"),
        ("/health/ready?exclude=draining", Phase.DRAINING, "Readiness probe for ADS indicates it is not ready"),
        ("/health/alive?exclude=ads", Phase.FAILED, "Service is alive"),
        ("/health/alive?exclude=nothing", Phase.FAILED, "Liveness probe for ADS indicates it is not alive"),
        ("/health/alive?verbose", Phase.SERVING, "[+]ads ok\nService is alive"),
    ],
)
async def test_an_excluded_check_is_out_of_the_verdict(target: str, phase: Phase, body: str) -> None:
    answer = await ask(target, phase=phase, failing="ads")
    assert answer is not None
    assert answer.body == body


async def test_json_has_verdict_checks_and_transitions() -> None:
    answer = await ask("/health/ready", failing="ads", accept="application/json")
    assert answer is not None
    assert (answer.status, answer.content_type) == (503, "application/json")
    body = msgspec.json.decode(answer.body)
    assert (body["probe"], body["healthy"], body["since"]) == ("ready", False, "2026-01-02T03:04:05Z")
    assert [check["name"] for check in body["checks"]] == [
        "ads",
        "mesh",
        "updates",
        "certificates",
        "capacity",
        "draining",
    ]
    assert body["checks"][0]["reason"] == "refused"
    assert body["transitions"] == []
