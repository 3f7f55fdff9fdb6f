"""Health: a component that lost its listener -> one that has it again in the same process, or has failed."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.logs import logger
from osm_probes.health.lifecycle import Lifecycle, Phase

RECOVER_WITHIN: Final = 10.0

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0


async def recover(
    lifecycle: Lifecycle, bind: Callable[[], Awaitable[None]], *, reason: str, within: float = RECOVER_WITHIN
) -> None:
    """RECOVERING because of `reason` until `bind` succeeds, then SERVING; a component that stops meanwhile stays so.

    Raises the last OsmError of `bind` where it did not succeed within so many seconds.
    """
    lifecycle.move(Phase.RECOVERING, reason=reason)
    logger(lifecycle.name).warning("the listener is lost", error=reason)
    pause = _FIRST_PAUSE
    while _recovering(lifecycle):
        # Before the first attempt too: a listener that is lost as soon as it is there must not become a busy loop.
        await _pause(lifecycle, max(0.0, min(pause, within - lifecycle.age)))
        pause = min(2 * pause, _LONGEST_PAUSE)
        if _recovering(lifecycle) and await _succeeds(bind, last=lifecycle.age >= within):
            break
    if _recovering(lifecycle):
        lifecycle.move(Phase.SERVING, reason=f"listening again after {lifecycle.age:.1f} s")


async def _pause(lifecycle: Lifecycle, seconds: float) -> None:
    """Sleep; a component that is asked to stop does not wait for it."""
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
