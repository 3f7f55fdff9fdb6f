"""A component that lost its listening socket binds again, or fails."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from osm_probes.foundation.backoff import Backoff
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.logs import logger
from osm_probes.health.lifecycle import Lifecycle, Phase

RECOVER_WITHIN: Final = 10.0

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0


async def recover(
    lifecycle: Lifecycle, bind: Callable[[], Awaitable[None]], *, reason: str, within: float = RECOVER_WITHIN
) -> None:
    """Be RECOVERING until `bind` succeeds, then SERVING. A component that is stopped meanwhile stays stopped.

    Raises the last OsmError of `bind` if it has not succeeded within `within` seconds.
    """
    lifecycle.move(Phase.RECOVERING, reason=reason)
    logger(lifecycle.name).warning("the listening socket is lost", error=reason)
    backoff = Backoff(first=_FIRST_PAUSE, most=_LONGEST_PAUSE, chance=lambda: 1.0)  # no jitter: nothing else binds here
    while _recovering(lifecycle):
        # Before the first attempt too: a socket that is lost again and again must not become a busy loop.
        await _pause(lifecycle, max(0.0, min(backoff.pause(), within - lifecycle.age)))
        if _recovering(lifecycle) and await _succeeds(bind, last=lifecycle.age >= within):
            break
    if _recovering(lifecycle):
        lifecycle.move(Phase.SERVING, reason=f"listening again after {lifecycle.age:.1f} s")


async def _pause(lifecycle: Lifecycle, seconds: float) -> None:
    """Sleep, but not longer than until the component is asked to stop."""
    with contextlib.suppress(TimeoutError):
        await lifecycle.until(Phase.DRAINING, Phase.STOPPED, Phase.FAILED, within=seconds)


def _recovering(lifecycle: Lifecycle) -> bool:
    return lifecycle.phase is Phase.RECOVERING


async def _succeeds(bind: Callable[[], Awaitable[None]], *, last: bool) -> bool:
    try:
        await bind()
    except OsmError:
        if last:
            raise
        return False
    return True
