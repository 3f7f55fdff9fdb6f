"""A real client -> truth: a new try each 100 ms, one JSON line for each.

A process: `ads|webhook|pod PORT FOLDER EVERY`. FOLDER has the mesh's CA; of `pod`, which asks an API server to create
one, that server's keys and certificates.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import cycle
from pathlib import Path

import msgspec

from osm_probes.pki.ca_folder import AuthorityFolderError
from tests.faults.ask import NotServedError, ask_ads, ask_pod, ask_webhook
from tests.faults.identity import TRIES, Credentials, credentials, proxy
from tests.faults.timeline import Sample

LIMIT = 3.0
"""The canary's limit."""
_AT_ONCE = 32

Ask = Callable[[], Awaitable[None]]
"""One client's question. Raises NotServedError, AuthorityFolderError."""


class Sampler:
    """Asks again and again."""

    def __init__(self, ask: Ask, *, every: float) -> None:
        self._ask = ask
        self._every = every

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
                await self._ask()
        except TimeoutError:
            reason = f"no answer within {LIMIT:g} s"
        except AuthorityFolderError:
            reason = "no CA, so no identity"
        except NotServedError as error:
            reason = str(error)[:200]
        sample = Sample(start, time.monotonic(), not reason, reason)
        os.write(1, msgspec.json.encode(sample) + b"\n")


def with_identities(ask: Callable[[int, Credentials], Awaitable[None]], port: int, ca: Path) -> Ask:
    """Ask as one proxy after the other. Identities are loaded once: healthy clients keep those that they have."""
    known: Iterator[Credentials] | None = None

    async def one() -> None:
        nonlocal known
        known = known or cycle([credentials(ca, proxy(number)) for number in range(TRIES)])
        await ask(port, next(known))

    return one


def main() -> None:
    """Sample until the process is ended."""
    what, port, folder, every = sys.argv[1:5]
    ask: Ask
    if what == "pod":
        ask = partial(ask_pod, int(port), Path(folder))
    else:
        ask = with_identities(ask_ads if what == "ads" else ask_webhook, int(port), Path(folder))
    asyncio.run(Sampler(ask, every=float(every)).run())


if __name__ == "__main__":
    main()
