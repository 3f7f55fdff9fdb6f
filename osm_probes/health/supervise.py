"""Work that must not end by itself."""

import contextlib

from osm_probes.foundation.logs import logger
from osm_probes.foundation.tasks import Work, watched_tasks
from osm_probes.health.lifecycle import Lifecycle, Phase


def supervised_tasks(lifecycle: Lifecycle, **works: Work) -> contextlib.AbstractAsyncContextManager[None]:
    """Run each of `works` as a task while the block lasts. If one ends, the component has FAILED, which is logged once.

    It may return, raise or be cancelled by somebody else. This is no failure if the component drains, has stopped or
    has failed already.
    """

    def fail(name: str, reason: str) -> None:
        if lifecycle.phase in (Phase.DRAINING, Phase.STOPPED, Phase.FAILED):
            return
        lifecycle.move(Phase.FAILED, reason=f"{name}: {reason}")
        logger(lifecycle.name).error("a component failed", error=reason, task=name)

    return watched_tasks(fail, **works)
