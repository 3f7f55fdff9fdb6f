"""In an API server's place: whoever answers each request in one way, which a real one cannot be made to."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.connect import connect


class Answering:
    """`answer`: what each request gets, "" = the connection is closed; `requests`: how many there were."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        body = self.answer.encode()
        if body:
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()


@asynccontextmanager
async def answering(folder: Path, answer: str) -> AsyncGenerator[tuple[KubernetesClient, Answering]]:
    """A client, and who answers it."""
    there = Answering(answer)
    server = await asyncio.start_server(there.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    file = folder / "kubeconfig"
    file.write_text(
        f"clusters: [{{name: a, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\n"
        "users: [{name: a, user: {token: a}}]\n"
        "contexts: [{name: a, context: {cluster: a, user: a}}]\ncurrent-context: a\n"
    )
    async with server, connect(str(file)) as client:
        yield client, there
