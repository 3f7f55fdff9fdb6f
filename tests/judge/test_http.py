import asyncio
import contextlib
from collections.abc import AsyncIterator
from http import HTTPStatus

from osm_probes.foundation.listen import listen
from osm_probes.http.message import Answer, Request
from osm_probes.http.server import uncounted
from osm_probes.judge.http import CONNECTIONS, serving

ALIVE = b"GET /alive HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@contextlib.asynccontextmanager
async def crowd(count: int, *, saying: bytes) -> AsyncIterator[int]:
    """The port of probes, on which so many clients said this and wait; only /alive has an answer."""
    heard = asyncio.Semaphore(0)

    async def hung(request: Request) -> Answer | None:
        heard.release()
        if request.path != "/alive":
            await asyncio.Event().wait()
        return Answer(HTTPStatus.OK, "alive")

    with listen(0, address="127.0.0.1") as listener:
        port = listener.getsockname()[1]
        async with serving(listener, hung, malformed=uncounted):
            clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
            for _, writer in clients:
                writer.write(saying)
            for _ in range(CONNECTIONS if saying else 0):
                await heard.acquire()
            yield port
            for _, writer in clients:
                writer.transport.abort()


async def alive(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(ALIVE)
    async with asyncio.timeout(1):
        answer = await reader.read()
    writer.close()
    return answer


async def test_silent_connections_do_not_delay_a_probe() -> None:
    async with crowd(CONNECTIONS + 20, saying=b"") as port:
        assert (await alive(port)).endswith(b"\r\n\r\nalive")


async def test_requests_that_wait_for_ready_do_not_delay_alive() -> None:
    async with crowd(CONNECTIONS + 20, saying=b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n") as port:
        assert (await alive(port)).endswith(b"\r\n\r\nalive")
