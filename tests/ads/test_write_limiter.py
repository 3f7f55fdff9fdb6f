import asyncio

from osm_probes.ads.write_limiter import WriteLimiter


async def test_the_number_of_concurrent_writes_is_limited() -> None:
    write_limiter = WriteLimiter(limit=2, timeout=60)
    inside = most = 0

    async def write() -> None:
        nonlocal inside, most
        with await write_limiter.acquire():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(write() for _ in range(10)))
    assert (most, inside) == (2, 0)


async def test_a_slot_is_released_after_the_timeout() -> None:
    write_limiter = WriteLimiter(limit=1, timeout=0.01)
    with await write_limiter.acquire():
        async with asyncio.timeout(5):
            with await write_limiter.acquire():
                pass


async def test_a_slot_is_released_only_once() -> None:
    write_limiter = WriteLimiter(limit=1, timeout=0.001)
    with await write_limiter.acquire():
        await asyncio.sleep(0.005)
    with await write_limiter.acquire():
        assert write_limiter._slots.locked()


async def test_an_error_in_the_block_releases_the_slot() -> None:
    write_limiter = WriteLimiter(limit=1, timeout=60)
    try:
        with await write_limiter.acquire():
            raise ValueError
    except ValueError:
        assert not write_limiter._slots.locked()
