"""Work that must not end by itself."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from osm_probes.foundation.logs import logger
from osm_probes.health.lifecycle import Lifecycle, Phase


async def supervised(lifecycle: Lifecycle, work: Coroutine[Any, Any, None]) -> None:
    """Run `work`. If it ends by itself or raises, the component has FAILED, which is logged once.

    That is no failure if the work is cancelled, or if the component drains, has stopped or has failed already.
    """
    reason = "ended by itself"
    try:
        await work
    except asyncio.CancelledError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    if lifecycle.phase in (Phase.DRAINING, Phase.STOPPED, Phase.FAILED):
        return
    lifecycle.move(Phase.FAILED, reason=reason)
    logger(lifecycle.name).error("a component failed", error=reason)
