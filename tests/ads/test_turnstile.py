import asyncio

from osm_probes.ads.turnstile import Turnstile


async def test_so_many_pass_at_a_time() -> None:
    turnstile = Turnstile(width=2, patience=60)
    inside = most = 0

    async def pass_through() -> None:
        nonlocal inside, most
        with await turnstile.enter():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(pass_through() for _ in range(10)))
    assert (most, inside) == (2, 0)


async def test_who_takes_too_long_gives_the_place_to_another() -> None:
    turnstile = Turnstile(width=1, patience=0.01)
    with await turnstile.enter():
        async with asyncio.timeout(5):
            with await turnstile.enter():
                pass


async def test_a_place_is_given_back_once() -> None:
    turnstile = Turnstile(width=1, patience=0.001)
    with await turnstile.enter():
        await asyncio.sleep(0.005)
    with await turnstile.enter():
        assert turnstile._places.locked()


async def test_an_error_inside_gives_the_place_back() -> None:
    turnstile = Turnstile(width=1, patience=60)
    try:
        with await turnstile.enter():
            raise ValueError
    except ValueError:
        assert not turnstile._places.locked()
