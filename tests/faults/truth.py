"""A real client -> truth: a new try each 100 ms, one JSON line for each. A process: `ads|webhook PORT CA EVERY`."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import cycle
from pathlib import Path

import msgspec

from osm_probes.pki.folder import AuthorityFolderError
from tests.faults.ask import NotServedError, ask_ads, ask_webhook
from tests.faults.identity import TRIES, Credentials, credentials, proxy
from tests.faults.timeline import Sample

LIMIT = 3.0
"""The canary's limit."""
_AT_ONCE = 32

Ask = Callable[[int, Credentials], Awaitable[None]]


class Sampler:
    """Asks again and again. Identities are loaded once: healthy clients keep those that they have."""

    def __init__(self, ask: Ask, *, port: int, ca: Path, every: float) -> None:
        self._ask = ask
        self._port = port
        self._ca = ca
        self._every = every
        self._known: Iterator[Credentials] | None = None

    async def run(self) -> None:
        """Sample without an end."""
        tries: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        while True:
            if len(tries) < _AT_ONCE:
                one = asyncio.create_task(self._sample())
                tries.add(one)
                one.add_done_callback(tries.discard)
            due = max(due + self._every, time.monotonic() - self._every)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _sample(self) -> None:
        start = time.monotonic()
        reason = ""
        try:
            async with asyncio.timeout(LIMIT):
                self._known = self._known or cycle([credentials(self._ca, proxy(number)) for number in range(TRIES)])
                await self._ask(self._port, next(self._known))
        except TimeoutError:
            reason = f"no answer within {LIMIT:g} s"
        except AuthorityFolderError:
            reason = "no CA, so no identity"
        except NotServedError as error:
            reason = str(error)[:200]
        sample = Sample(start, time.monotonic(), not reason, reason)
        os.write(1, msgspec.json.encode(sample) + b"\n")


def main() -> None:
    """Sample until the process is ended."""
    what, port, ca, every = sys.argv[1:5]
    ask: Ask = ask_ads if what == "ads" else ask_webhook
    asyncio.run(Sampler(ask, port=int(port), ca=Path(ca), every=float(every)).run())


if __name__ == "__main__":
    main()
