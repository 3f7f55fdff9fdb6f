"""A TCP forwarder that delays every chunk by the delay_file in a file, as a process: `PORT TARGET FILE`."""

import asyncio
import contextlib
import sys
from pathlib import Path


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, delay_file: Path) -> None:
    """Forward all chunks in order, each with the delay; several chunks may be in flight."""
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    async def write() -> None:
        while True:
            due, chunk = await queue.get()
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
            queue.put_nowait((loop.time() + _read_delay(delay_file), chunk))
            if not chunk:
                break
    with contextlib.suppress(OSError):
        await writing


def _read_delay(delay_file: Path) -> float:
    return float(delay_file.read_text() or 0)


async def main(port: int, target: int, delay_file: Path) -> None:
    """Forward connections until the process is killed."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(
            _forward(reader, target_writer, delay_file=delay_file),
            _forward(target_reader, writer, delay_file=delay_file),
            return_exceptions=True,
        )

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
