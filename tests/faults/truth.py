"""A real client's requests, as a process: `KIND PORT FOLDER INTERVAL`. One JSON line for each request.

KIND: ads, webhook, own-review, pod or stored-pod. FOLDER contains the mesh's CA; for the last two, which create pods
through an API server, that server's keys and certificates.
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
from tests.faults.client import NotServedError, create_pod, request_ads, request_own_review, request_review, store_pod
from tests.faults.identity import TRIES, Credentials, credentials, proxy
from tests.faults.timeline import Sample

LIMIT = 3.0
"""The canary's limit."""
_MAX_CONCURRENT = 32

Request = Callable[[], Awaitable[None]]
"""One request of a client. Raises NotServedError, AuthorityFolderError."""


class Sampler:
    """Sends requests at an interval."""

    def __init__(self, request: Request, *, sample_interval: float) -> None:
        self._request = request
        self._interval = sample_interval

    async def run(self) -> None:
        """Send requests until the process is killed."""
        tries: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        while True:
            if len(tries) < _MAX_CONCURRENT:
                task = asyncio.create_task(self._sample())
                tries.add(task)
                task.add_done_callback(tries.discard)
            due = max(due + self._interval, time.monotonic() - self._interval)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _sample(self) -> None:
        start = time.monotonic()
        reason = ""
        try:
            async with asyncio.timeout(LIMIT):
                await self._request()
        except TimeoutError:
            reason = f"no response within {LIMIT:g} s"
        except AuthorityFolderError:
            reason = "no CA, so no identity"
        except NotServedError as error:
            reason = str(error)[:200]
        sample = Sample(start, time.monotonic(), not reason, reason)
        os.write(1, msgspec.json.encode(sample) + b"\n")


def with_identities(request: Callable[[int, Credentials], Awaitable[None]], port: int, ca: Path) -> Request:
    """Send requests as one proxy after another. Credentials are loaded once, because real clients keep theirs too."""
    own_credentials: Iterator[Credentials] | None = None

    async def request_as_next() -> None:
        nonlocal own_credentials
        own_credentials = own_credentials or cycle([credentials(ca, proxy(number)) for number in range(TRIES)])
        await request(port, next(own_credentials))

    return request_as_next


def main() -> None:
    """Send requests until the process is killed."""
    what, port, folder, sample_interval = sys.argv[1:5]
    request: Request
    if what in {"pod", "stored-pod"}:
        request = partial(create_pod if what == "pod" else store_pod, int(port), Path(folder))
    else:
        requests = {"ads": request_ads, "webhook": request_review, "own-review": request_own_review}
        request = with_identities(requests[what], int(port), Path(folder))
    asyncio.run(Sampler(request, sample_interval=float(sample_interval)).run())


if __name__ == "__main__":
    main()
