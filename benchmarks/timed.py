"""osm-injector with timing: `python -m benchmarks.timed FILE osm-injector FLAGS…`.

It writes a line for each pod that got a sidecar: the seconds until its review was answered, and the seconds that
storing the Secret took.
"""

import sys
import time
from contextvars import ContextVar
from pathlib import Path

from osm_probes.admission.patch import SidecarInjection
from osm_probes.admission.webhook import Webhook
from osm_probes.cluster.bootstrap_secrets import BootstrapSecretStore
from osm_probes.injector.main import main

_storing: ContextVar[list[float]] = ContextVar("storing")
_answer, _store = Webhook.answer, BootstrapSecretStore.store


def _write_times_to(file: Path) -> None:
    lines = file.open("w", buffering=1)

    async def answer(self: Webhook, body: bytes, *, client: str = "") -> bytes:
        storing: list[float] = []
        _storing.set(storing)
        started = time.perf_counter()
        response = await _answer(self, body, client=client)
        if storing:  # empty for the canary's review
            lines.write(f"{time.perf_counter() - started} {storing[0]}\n")
        return response

    async def store(self: BootstrapSecretStore, injection: SidecarInjection) -> None:
        started = time.perf_counter()
        await _store(self, injection)
        _storing.get().append(time.perf_counter() - started)

    Webhook.answer = answer  # type: ignore[method-assign]  # the real program, except for these two timers
    BootstrapSecretStore.store = store  # type: ignore[method-assign]  # as above


if __name__ == "__main__":
    _write_times_to(Path(sys.argv[1]))
    del sys.argv[:2]
    main()
