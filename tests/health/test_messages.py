from datetime import UTC, datetime

import msgspec
import pytest

from osm_probes.health.judge_state import AdsCanary, CanaryStep, ExpectedSidecar, WebhookCanary
from osm_probes.health.messages import (
    METRICS,
    JudgeBeat,
    MalformedMessageError,
    Page,
    PageRequest,
    ToJudge,
    ToProgram,
    Transition,
    line_of,
    message_to_judge,
    message_to_program,
)
from osm_probes.runtime.initial_judge_state import CONTROLLER, INJECTOR

ADS = AdsCanary(
    address="127.0.0.1", port=15128, server_name="ads", root_pem=b"r", chain_pem=b"c", key_pem=b"secret",
    steps=(CanaryStep((b"\0\xff", b"x"), expected=b"\n"),),
)  # fmt: skip
FALL = Transition(at=datetime(2026, 1, 2, tzinfo=UTC), probe="ready", healthy=False, reason="x")
WEBHOOK = WebhookCanary(
    address="::1", port=9090, server_name="w", bundle_pem=b"b", path="/p", body=b"{}",
    expected=ExpectedSidecar(container="envoy", init_container="init", secret_prefix="s-"),
)  # fmt: skip


@pytest.mark.parametrize(
    "message",
    [
        CONTROLLER,
        msgspec.structs.replace(INJECTOR, webhook=WEBHOOK),
        msgspec.structs.replace(CONTROLLER, ads=ADS, expiries={"ads": datetime(2030, 1, 2, tzinfo=UTC)}),
        Page(METRICS, 'osm_x{a="\n"} 1\n'),
    ],
)
def test_messages_to_the_judge_survive_the_round_trip(message: ToJudge) -> None:
    line = line_of(message)
    assert line.count(b"\n") == 1
    assert message_to_judge(line) == message


@pytest.mark.parametrize(
    "message",
    [
        JudgeBeat(),
        PageRequest(METRICS),
        FALL,
    ],
)
def test_messages_to_the_program_survive_the_round_trip(message: ToProgram) -> None:
    assert message_to_program(line_of(message)) == message


@pytest.mark.parametrize("line", [b"", b"{}", b"noise", b'{"type":"Other"}', b'{"type":"JudgeState"}'])
def test_a_malformed_message_is_an_error(line: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        message_to_judge(line)
    with pytest.raises(MalformedMessageError):
        message_to_program(line)


def test_the_repr_of_a_canary_does_not_contain_its_key() -> None:
    assert "secret" not in repr(msgspec.structs.replace(CONTROLLER, ads=ADS))
