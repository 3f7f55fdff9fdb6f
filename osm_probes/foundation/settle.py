"""Foundation: a burst of changes -> one wake-up, not later than a bound."""

import asyncio
import contextlib
from typing import TypeVar

from osm_probes.foundation.latest import Latest

T = TypeVar("T")


async def settle(latest: Latest[T], since: int, *, quiet: float, at_most: float) -> int:
    """Wait for a change after version `since`, then until it is quiet; the version reached.

    quiet: seconds without a further change that count as settled. at_most: seconds after the first change when it
    counts as settled in any case, so that steady change cannot hold it up.
    """
    version = await latest.after(since)
    # Either bound ends the waiting by TimeoutError: both mean settled.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(at_most):
            while True:
                async with asyncio.timeout(quiet):
                    version = await latest.after(version)
    return latest.version
