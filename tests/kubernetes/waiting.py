"""Waiting for a state of the API server, by polling."""

import asyncio
from collections.abc import Awaitable, Callable


async def eventually(condition: Callable[[], Awaitable[bool]], *, within: float) -> None:
    """Poll until the condition is true. Raises TimeoutError after `within` seconds."""
    async with asyncio.timeout(within):
        while not await condition():  # noqa: ASYNC110 - an API server does not notify
            await asyncio.sleep(0.1)
