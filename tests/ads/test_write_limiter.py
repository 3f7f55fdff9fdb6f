import asyncio

from osm_probes.ads.write_limiter import WriteLimiter


async def test_so_many_pass_at_a_time() -> None:
    write_limiter = WriteLimiter(width=2, patience=60)
    inside = most = 0

    async def pass_through() -> None:
        nonlocal inside, most
        with await write_limiter.enter():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(pass_through() for _ in range(10)))
    assert (most, inside) == (2, 0)


async def test_who_takes_too_long_gives_the_place_to_another() -> None:
    write_limiter = WriteLimiter(width=1, patience=0.01)
    with await write_limiter.enter():
        async with asyncio.timeout(5):
            with await write_limiter.enter():
                pass


async def test_a_place_is_given_back_once() -> None:
    write_limiter = WriteLimiter(width=1, patience=0.001)
    with await write_limiter.enter():
        await asyncio.sleep(0.005)
    with await write_limiter.enter():
        assert write_limiter._places.locked()


async def test_an_error_inside_gives_the_place_back() -> None:
    write_limiter = WriteLimiter(width=1, patience=60)
    try:
        with await write_limiter.enter():
            raise ValueError
    except ValueError:
        assert not write_limiter._places.locked()
