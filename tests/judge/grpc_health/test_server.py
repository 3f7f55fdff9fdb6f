import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import grpc
import pytest

from osm_probes.foundation.listen import listen
from osm_probes.health.lifecycle import Phase
from osm_probes.judge.evaluator import ProbeEvaluator
from osm_probes.judge.grpc_health.connection import Limits
from osm_probes.judge.grpc_health.server import GrpcHealth
from osm_probes.judge.transitions import VerdictWatch
from tests.faults.floods import FLOODS, PREFACE
from tests.judge.evaluators import evaluator_of, view

SERVING, NOT_SERVING, SERVICE_UNKNOWN = b"\x08\x01", b"\x08\x02", b"\x08\x03"
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"


class Served:
    """A served evaluator: its port, and the calls that were counted."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.counted: list[tuple[str, str]] = []

    @contextlib.asynccontextmanager
    async def channel(self) -> AsyncIterator[grpc.aio.Channel]:
        """A real client's connection, of its own."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", options=options) as channel:
            yield channel

    async def check(self, service: str) -> bytes:
        async with self.channel() as channel:
            return await unary(channel, CHECK, message(service))


async def unary(
    channel: grpc.aio.Channel, method: str, request: bytes, *, compression: grpc.Compression | None = None
) -> bytes:
    """A real client's call."""
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
    return await call(request, timeout=5, compression=compression)


class Watch:
    """A real client's Watch."""

    def __init__(self, channel: grpc.aio.Channel, service: str) -> None:
        method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(WATCH)
        self.call = method(message(service), timeout=5)

    async def next(self, *, within: float = 5) -> object:
        """What it says next; None, and the end of the call, if nothing in time."""
        try:
            async with asyncio.timeout(within):
                return await self.call.read()
        except TimeoutError:
            return None


def message(service: str) -> bytes:
    return bytes((10, len(service))) + service.encode()


@contextlib.asynccontextmanager
async def served(
    evaluator: ProbeEvaluator,
    verdicts: VerdictWatch | None = None,
    *,
    connections: int = 32,
    limits: Limits | None = None,
) -> AsyncIterator[Served]:
    with listen(0, address="127.0.0.1") as listener:
        one = Served(listener.getsockname()[1])
        health = GrpcHealth(
            evaluator,
            verdicts or VerdictWatch(),
            count=lambda *call: one.counted.append(call),
            connections=connections,
            limits=limits,
        )
        async with health.serving(listener):
            yield one


@pytest.mark.parametrize(
    ("phase", "liveness", "readiness"),
    [
        (Phase.STARTING, NOT_SERVING, NOT_SERVING),
        (Phase.SERVING, SERVING, SERVING),
        (Phase.RECOVERING, SERVING, NOT_SERVING),
        (Phase.DRAINING, SERVING, NOT_SERVING),
        (Phase.FAILED, NOT_SERVING, NOT_SERVING),
    ],
)
async def test_check_answers_by_the_contracts_table(phase: Phase, liveness: bytes, readiness: bytes) -> None:
    async with served(evaluator_of(view(phase=phase))) as one:
        assert [await one.check(service) for service in ("liveness", "readiness", "")] == [
            liveness, readiness, readiness,
        ]  # fmt: skip
        assert {path for path, _ in one.counted} == {CHECK}
        assert one.counted[0][1] == ("SERVING" if liveness == SERVING else "NOT_SERVING")


async def test_an_unknown_service_is_not_found_by_check_and_unknown_to_watch_which_stays_open() -> None:
    async with served(evaluator_of(view())) as one, one.channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await unary(channel, CHECK, message("ads"))
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        watch = Watch(channel, "ads")
        assert await watch.next() == SERVICE_UNKNOWN
        assert await watch.next(within=0.2) is None
        assert one.counted == [(CHECK, "NOT_FOUND"), (WATCH, "SERVICE_UNKNOWN")]


async def test_a_watch_starts_with_the_present_verdict_and_sends_each_change_once() -> None:
    verdicts = VerdictWatch()
    evaluator = evaluator_of(view())
    unhealthy = await evaluator_of(view(phase=Phase.DRAINING)).ready()
    healthy = await evaluator.ready()
    async with served(evaluator, verdicts) as one, one.channel() as channel:
        watches = {name: Watch(channel, name) for name in ("", "readiness", "liveness")}
        assert [await watch.next() for watch in watches.values()] == [SERVING] * 3
        for result, status in (
            (healthy, None),
            (unhealthy, NOT_SERVING),
            (unhealthy, None),
            (healthy, SERVING),
        ):
            verdicts.observe(result)
            if status is not None:
                assert [await watches[name].next() for name in ("", "readiness")] == [status] * 2
        for watch in watches.values():
            assert await watch.next(within=0.1) is None


async def test_gzip_and_unknown_methods_are_not_implemented() -> None:
    async with served(evaluator_of(view())) as one, one.channel() as channel:
        for call in (
            unary(channel, "/grpc.health.v1.Health/List", b""),
            unary(channel, CHECK, message("x" * 100), compression=grpc.Compression.Gzip),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_the_oldest_silent_connection_makes_room_and_a_watch_stays() -> None:
    async with served(evaluator_of(view()), connections=4) as one, one.channel() as channel:
        watch = Watch(channel, "")
        assert await watch.next() == SERVING
        silent = [socket.create_connection(("127.0.0.1", one.port)) for _ in range(20)]
        assert await one.check("") == SERVING
        assert await watch.next(within=0.1) is None
        silent[0].settimeout(2)
        assert await asyncio.to_thread(until_end, silent[0]) is True
        for each in silent:
            each.close()


def until_end(connection: socket.socket) -> bool:
    """Whether the other side ends the connection in time."""
    with contextlib.suppress(TimeoutError):
        while connection.recv(4096):
            pass
        return True
    return False


async def test_the_oldest_watch_makes_room_when_all_connections_watch() -> None:
    async with served(evaluator_of(view()), connections=2) as one, contextlib.AsyncExitStack() as channels:
        for _ in range(4):
            channel = await channels.enter_async_context(one.channel())
            assert await Watch(channel, "").next() == SERVING
        assert await one.check("") == SERVING


async def test_a_connection_without_a_call_is_closed() -> None:
    async with served(evaluator_of(view()), limits=Limits(first_call=0.1)) as one:
        reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
        async with asyncio.timeout(2):
            assert await reader.read() != b""  # settings, goaway, and the end
        writer.close()


@pytest.mark.parametrize("service", ["", "unknown"])
async def test_a_watch_is_not_idle_and_its_connection_outlives_other_calls(service: str) -> None:
    async with served(evaluator_of(view()), limits=Limits(idle=0.05)) as one, one.channel() as channel:
        watch = Watch(channel, service)
        assert await watch.next() in (SERVING, SERVICE_UNKNOWN)
        other = Watch(channel, "liveness")
        assert await other.next() == SERVING
        other.call.cancel()
        assert await watch.next(within=0.3) is None


async def test_a_cancelled_watch_gets_nothing_more() -> None:
    verdicts = VerdictWatch()
    async with served(evaluator_of(view()), verdicts) as one, one.channel() as channel:
        watch, other = Watch(channel, "liveness"), Watch(channel, "readiness")
        assert [await watch.next(), await other.next()] == [SERVING, SERVING]
        other.call.cancel()
        await unary(channel, CHECK, message(""))  # by now the server knows
        verdicts.observe(await evaluator_of(view(phase=Phase.DRAINING)).ready())
        await unary(channel, CHECK, message(""))
        verdicts.observe(evaluator_of(view(phase=Phase.FAILED)).alive())
        assert await watch.next() == NOT_SERVING


async def test_a_connection_that_is_too_old_is_closed() -> None:
    async with served(evaluator_of(view()), limits=Limits(life=0.2)) as one, one.channel() as channel:
        watch = Watch(channel, "")
        assert await watch.next() == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await watch.next()
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("kind", FLOODS)
async def test_a_connection_that_floods_is_ended_and_others_are_answered(kind: str) -> None:
    async with served(evaluator_of(view())) as one:
        reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
        ended = asyncio.ensure_future(reader.read(-1))
        writer.write(PREFACE)
        chunks = FLOODS[kind](CHECK)
        for number in range(200):  # 13 MB
            if ended.done():
                break
            writer.write(next(chunks))
            await asyncio.wait({ended}, timeout=0.01)
            if number < 2:
                assert await one.check("") == SERVING
        await asyncio.wait({ended}, timeout=20)
        assert ended.done()
        with contextlib.suppress(OSError):
            await ended
        assert await one.check("") == SERVING
        writer.transport.abort()
