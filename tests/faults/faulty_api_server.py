"""A proxy of an API server that fails as the mode in a file says, as a process: `PORT TARGET PKI KUBECONFIG FILE`.

It has the API server's certificate, and sends requests as the user of the kubeconfig. Modes: empty (forwards all);
a status such as `500` (the answer to each creation of a Secret); `hang` (no answer to them); `slow` (forwards them
after 6 s); `cut` (closes all connections).
"""

import asyncio
import base64
import contextlib
import json
import ssl
import sys
import tempfile
from pathlib import Path

_END = b"\r\n\r\n"
_POLL = 0.05
_SLOW = 6.0


class FaultyApiServer:
    """Forwards requests, one after another on each connection."""

    def __init__(self, target: int, context: ssl.SSLContext, mode_file: Path) -> None:
        self._target = target
        self._context = context
        self._mode_file = mode_file
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def mode(self) -> str:
        """The mode now."""
        return self._mode_file.read_text().strip()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of a client."""
        if self.mode == "cut":
            writer.transport.abort()
            return
        self._open.add(writer)
        with contextlib.suppress(OSError, EOFError):
            target_reader, target_writer = await asyncio.open_connection(
                "127.0.0.1", self._target, ssl=self._context, server_hostname="localhost"
            )
            copying = asyncio.ensure_future(_copy(target_reader, writer))
            with contextlib.suppress(OSError, EOFError):
                while True:
                    await self._forward_one(reader, writer, target_writer)
            copying.cancel()
            target_writer.transport.abort()
        self._open.discard(writer)
        writer.transport.abort()

    async def _forward_one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: asyncio.StreamWriter
    ) -> None:
        head = await reader.readuntil(_END)
        body = await reader.readexactly(_content_length(head))
        path = head.split(b" ", 2)[1].partition(b"?")[0]
        mode = self.mode if head.startswith(b"POST ") and path.endswith(b"/secrets") else ""
        if mode == "hang":
            await asyncio.sleep(3600)
        elif mode.isdecimal():
            status = json.dumps(
                {"kind": "Status", "code": int(mode), "message": "etcdserver: mvcc: database space exceeded"}
            )
            fields = f"Content-Type: application/json\r\nContent-Length: {len(status)}"
            writer.write(f"HTTP/1.1 {mode} Failed\r\n{fields}\r\n\r\n{status}".encode())
        else:
            if mode == "slow":
                await asyncio.sleep(_SLOW)
            target.write(head + body)
            await target.drain()

    async def cut(self) -> None:
        """Close all connections while the mode is `cut`."""
        while True:
            if self.mode == "cut":
                for writer in self._open:
                    writer.transport.abort()
            await asyncio.sleep(_POLL)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.transport.abort()


def _content_length(head: bytes) -> int:
    fields = (line.partition(b":") for line in head.lower().split(b"\r\n"))
    return next((int(value) for name, _, value in fields if name == b"content-length"), 0)


def _client_context(pki: Path, kubeconfig: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    user = json.loads(kubeconfig.read_text())["users"][0]["user"]
    with tempfile.NamedTemporaryFile() as file:
        file.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        file.flush()
        context.load_cert_chain(file.name)
    return context


async def main(port: int, target: int, pki: Path, kubeconfig: Path, mode_file: Path) -> None:
    """Serve until the process is killed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "apiserver.crt", pki / "apiserver.key")
    faulty = FaultyApiServer(target, _client_context(pki, kubeconfig), mode_file)
    server = await asyncio.start_server(faulty.accept, "127.0.0.1", port, ssl=context)
    async with server:
        await faulty.cut()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), *map(Path, sys.argv[3:6])))
