"""A burst of changes -> one wake-up, after a limited time."""

import asyncio
import contextlib
from typing import TypeVar

from osm_probes.foundation.latest import Latest

T = TypeVar("T")


async def settle(latest: Latest[T], since: int, *, quiet: float, at_most: float) -> int:
    """Wait for a change after version `since`, then until changes pause; the version then.

    quiet: the length of the pause, in seconds. at_most: seconds after the first change at which the wait ends in any
    case, so that steady change cannot prolong it for ever.
    """
    version = await latest.after(since)
    # Either limit ends the wait with a TimeoutError, and both mean settled.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(at_most):
            while True:
                async with asyncio.timeout(quiet):
                    version = await latest.after(version)
    return latest.version
