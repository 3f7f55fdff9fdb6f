"""Waiting for what an API server is asked about: it does not tell."""

import asyncio
from collections.abc import Awaitable, Callable


async def eventually(true: Callable[[], Awaitable[bool]], *, within: float) -> None:
    """Ask until the answer is yes. TimeoutError after `within` seconds."""
    async with asyncio.timeout(within):
        while not await true():  # noqa: ASYNC110 - it is asked
            await asyncio.sleep(0.1)
