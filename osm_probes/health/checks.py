"""Health checks and their results."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.logs import logger
from osm_probes.foundation.tasks import start


class UnhealthyError(OsmError):
    """A check failed; the text is the reason, for everybody, without names of objects.

    detail: the whole reason, with names and texts of others; "" if there is no more to say.
    """

    def __init__(self, reason: str, *, detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail


CheckFunction = Callable[[], Awaitable[None]]
"""Returns if healthy. UnhealthyError means unhealthy; any other error does as well, and is logged."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check; an empty reason means healthy. `took` is in seconds. detail: see UnhealthyError."""

    name: str
    reason: str = ""
    took: float = 0.0
    detail: str = ""

    @property
    def healthy(self) -> bool:
        """Whether the check succeeded."""
        return not self.reason


async def run_checks(checks: Mapping[str, CheckFunction], *, within: float) -> dict[str, CheckResult]:
    """Run all checks concurrently; the results by name, in the same order. A check fails after `within` seconds."""
    results = await asyncio.gather(*(_run(name, check, within=within) for name, check in checks.items()))
    return {result.name: result for result in results}


async def _run(name: str, check: CheckFunction, *, within: float) -> CheckResult:
    started = time.monotonic()
    reason = detail = ""
    try:
        async with asyncio.timeout(within):
            await check()
    except UnhealthyError as error:
        reason, detail = str(error) or "no reason given", error.detail
    except TimeoutError:
        reason = f"no answer within {within:g} s"
    except Exception as error:
        reason, detail = f"an unexpected {type(error).__name__}", f"{type(error).__name__}: {error}"
        logger("health").error("a check failed with an unexpected error", check=name, error=detail)
    return CheckResult(name, reason, time.monotonic() - started, detail)


def coalesced(check: CheckFunction, *, keep: float, clock: Callable[[], float] = time.monotonic) -> CheckFunction:
    """The same check, which runs at most once at a time; its result is kept for `keep` seconds.

    So probes cannot amplify load: concurrent callers share one run.
    """
    running: asyncio.Task[Exception | None] | None = None
    finished_at = float("-inf")

    async def run() -> Exception | None:
        nonlocal finished_at
        try:
            await check()
        except Exception as error:
            return error
        finally:
            finished_at = clock()
        return None

    async def run_once() -> None:
        nonlocal running
        if running is None or (running.done() and (running.cancelled() or clock() - finished_at >= keep)):
            running = start(run(), name="health check")
        # A caller that gives up must not cancel the check for the others.
        error = await asyncio.shield(running)
        if error is not None:
            raise error

    return run_once
