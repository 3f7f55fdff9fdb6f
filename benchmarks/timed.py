"""osm-injector that writes down how long it took: `python -m benchmarks.timed FILE osm-injector FLAGS…`.

A line for each pod that got a sidecar: seconds until its review was answered, and those that storing the Secret took.
"""

import sys
import time
from contextvars import ContextVar
from pathlib import Path

from osm_probes.admission.patch import Injection
from osm_probes.admission.webhook import Webhook
from osm_probes.cluster.bootstrap_secrets import BootstrapStore
from osm_probes.injector.main import main

_stored: ContextVar[list[float]] = ContextVar("stored")
_answer, _store = Webhook.answer, BootstrapStore.__call__


def _time_into(file: Path) -> None:
    lines = file.open("w", buffering=1)

    async def answer(self: Webhook, body: bytes) -> bytes:
        stored: list[float] = []
        _stored.set(stored)
        started = time.perf_counter()
        answered = await _answer(self, body)
        if stored:  # a self-check stores nothing
            lines.write(f"{time.perf_counter() - started} {stored[0]}\n")
        return answered

    async def store(self: BootstrapStore, injection: Injection) -> None:
        started = time.perf_counter()
        await _store(self, injection)
        _stored.get().append(time.perf_counter() - started)

    Webhook.answer = answer  # type: ignore[method-assign]  # the real program, but for these two clocks
    BootstrapStore.__call__ = store  # type: ignore[method-assign]  # as above


if __name__ == "__main__":
    _time_into(Path(sys.argv[1]))
    del sys.argv[:2]
    main()
