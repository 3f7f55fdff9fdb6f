import asyncio

import pytest

from osm_probes.health.checks import UnhealthyError, coalesced, run_checks


async def _yes() -> None:
    return


async def _no() -> None:
    raise UnhealthyError("no beat for 42 s")


async def _broken() -> None:
    raise KeyError("oops")


async def _silent() -> None:
    await asyncio.Event().wait()


async def test_each_question_has_its_result_in_the_order_asked() -> None:
    questions = {"ads": _yes, "mesh": _no, "capacity": _silent, "draining": _broken}
    results = list((await run_checks(questions, within=0.02)).values())
    assert [(result.name, result.reason) for result in results] == [
        ("ads", ""),
        ("mesh", "no beat for 42 s"),
        ("capacity", "no answer within 0.02 s"),
        ("draining", "an unexpected KeyError"),
    ]
    assert [result.detail for result in results] == ["", "", "", "KeyError: 'oops'"], "what it is about is for the log"
    assert [result.healthy for result in results] == [True, False, False, False]


class Asked:
    """A question that counts how often it is asked, and answers when told to."""

    def __init__(self) -> None:
        self.times = 0
        self.answer = asyncio.Event()
        self.now = 0.0

    async def ask(self) -> None:
        self.times += 1
        await self.answer.wait()
        raise UnhealthyError("no")


async def test_a_hundred_probes_at_once_are_one_question() -> None:
    asked = Asked()
    ask = coalesced(asked.ask, keep=0.25, clock=lambda: asked.now)
    waiting = [asyncio.ensure_future(ask()) for _ in range(100)]
    await asyncio.sleep(0)
    asked.answer.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert {str(answer) for answer in answers} == {"no"}
    assert asked.times == 1


async def test_an_answer_is_kept_only_for_the_given_time() -> None:
    asked = Asked()
    asked.answer.set()
    ask = coalesced(asked.ask, keep=0.25, clock=lambda: asked.now)
    for asked.now, times in ((0.0, 1), (0.2, 1), (0.25, 2), (0.3, 2)):
        with pytest.raises(UnhealthyError):
            await ask()
        assert asked.times == times


async def test_a_caller_that_gives_up_does_not_cancel_the_question_for_others() -> None:
    asked = Asked()
    ask = coalesced(asked.ask, keep=0.25, clock=lambda: asked.now)
    impatient, patient = asyncio.ensure_future(ask()), asyncio.ensure_future(ask())
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.sleep(0)
    asked.answer.set()
    with pytest.raises(UnhealthyError):
        await patient
    assert asked.times == 1
