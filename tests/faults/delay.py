"""A slow way: TCP to a port goes on to another, each chunk late by what a file says. A process: `PORT TARGET FILE`."""

import asyncio
import contextlib
import sys
from pathlib import Path


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, seconds: Path) -> None:
    """Pass on what comes, in its order, each chunk so late; several may be under way."""
    late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    async def write() -> None:
        while True:
            due, chunk = await late.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            writer.write(chunk)
            if not chunk:
                writer.close()
                return
            await writer.drain()

    writing = asyncio.ensure_future(write())
    with contextlib.suppress(OSError):
        while True:
            chunk = await reader.read(65536)
            late.put_nowait((loop.time() + _said(seconds), chunk))
            if not chunk:
                break
    with contextlib.suppress(OSError):
        await writing


def _said(seconds: Path) -> float:
    return float(seconds.read_text() or 0)


async def main(port: int, target: int, seconds: Path) -> None:
    """Forward until the process is ended."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(
            _forward(reader, back, seconds=seconds), _forward(there, writer, seconds=seconds), return_exceptions=True
        )

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
