import asyncio

import msgspec
import pytest

from osm_probes.configuration.injector import parse_injector
from osm_probes.health.checks import UnhealthyError
from osm_probes.judge.checks import CHECKS, ConnectionCheck
from osm_probes.runtime.initial_judge_state import CONTROLLER, injector_judge_state
from tests.ads.fake_ads import fake_ads
from tests.judge.evaluators import view

IN_CLUSTER = parse_injector(
    [
        *("--mesh-name=osm", "--osm-namespace=osm-system", "--ca-bundle-secret-name=osm-ca-bundle"),
        *("--webhook-config-name=osm-webhook-osm", "--dry-run-namespace=dry"),
    ],
    {},
)


def test_the_checks_of_both_programs_are_registered() -> None:
    assert set(CHECKS) == {*CONTROLLER.ready, *injector_judge_state(IN_CLUSTER).ready}


async def test_a_connection_during_a_change_of_certificates_is_tried_again() -> None:
    async with fake_ads() as good:

        async def change(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            program.update(msgspec.structs.replace(CONTROLLER, ads=good))
            writer.close()

        old = await asyncio.start_server(change, "127.0.0.1", 0)
        port = old.sockets[0].getsockname()[1]
        program = view(msgspec.structs.replace(CONTROLLER, ads=msgspec.structs.replace(good, port=port)))
        await CHECKS["ads"](program).run(wait=3)
        old.close()


async def test_no_connection_is_made_before_the_program_says_how() -> None:
    for state in (CONTROLLER, injector_judge_state(IN_CLUSTER)):
        program = view(state)
        checks = [check for name in state.ready if isinstance(check := CHECKS[name](program), ConnectionCheck)]
        assert checks
        for check in checks:
            with pytest.raises(UnhealthyError, match="it has not served yet"):
                await check.run(wait=3)


async def test_an_unknown_canary_is_no_answer_to_keep() -> None:
    async with fake_ads() as canary:
        program = view(CONTROLLER)
        check = CHECKS["ads"](program)
        with pytest.raises(UnhealthyError, match="it has not served yet"):
            await check.run(wait=3)
        program.update(msgspec.structs.replace(CONTROLLER, ads=canary))
        await check.run(wait=3)
