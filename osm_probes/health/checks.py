"""Health: questions whose answer is yes, or no with a reason."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.logs import logger


class UnhealthyError(OsmError):
    """The answer of a check is no; the text is the reason, for a person."""


Question = Callable[[], Awaitable[None]]
"""Returns = yes; UnhealthyError = no; anything else = no, and logged."""


@dataclass(frozen=True, slots=True)
class Check:
    """A named question about health."""

    name: str
    ask: Question


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The answer of one check: no reason = healthy. `took` is in seconds."""

    name: str
    reason: str = ""
    took: float = 0.0

    @property
    def healthy(self) -> bool:
        """True if the answer is yes."""
        return not self.reason


async def examine(checks: Sequence[Check], *, within: float) -> tuple[CheckResult, ...]:
    """Ask all checks at once; their reports in the same order. Silence for `within` seconds is a no."""
    return tuple(await asyncio.gather(*(_examine(check, within=within) for check in checks)))


async def _examine(check: Check, *, within: float) -> CheckResult:
    started = time.monotonic()
    reason = ""
    try:
        async with asyncio.timeout(within):
            await check.ask()
    except UnhealthyError as error:
        reason = str(error) or "no reason given"
    except TimeoutError:
        reason = f"no answer within {within:g} s"
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        logger("health").error("a check broke", check=check.name, error=reason)
    return CheckResult(check.name, reason, time.monotonic() - started)


def coalesced(ask: Question, *, keep: float, clock: Callable[[], float] = time.monotonic) -> Question:
    """The same question, asked at most once at a time, its answer kept for `keep` seconds after it came.

    So probes cannot amplify load: a hundred probes at once are one question.
    """
    running: asyncio.Task[Exception | None] | None = None
    answered_at = float("-inf")

    async def answer() -> Exception | None:
        nonlocal answered_at
        try:
            await ask()
        except Exception as error:
            return error
        finally:
            answered_at = clock()
        return None

    async def ask_once() -> None:
        nonlocal running
        if running is None or (running.done() and (running.cancelled() or clock() - answered_at >= keep)):
            running = asyncio.ensure_future(answer())
        # A caller that gives up must not take the question away from the others.
        error = await asyncio.shield(running)
        if error is not None:
            raise error

    return ask_once
