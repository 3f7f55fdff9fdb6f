"""A server that gives every request the same response, which a real API server cannot be made to do."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.connect import connect


class FakeApiServer:
    """body: of each response; "" closes the connection without a response. requests: how many there were."""

    def __init__(self, body: str) -> None:
        self.body = body
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        body = self.body.encode()
        if body:
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()


@asynccontextmanager
async def fake_api_server(folder: Path, body: str) -> AsyncGenerator[tuple[KubernetesClient, FakeApiServer]]:
    """A client and the server that it is connected to."""
    fake = FakeApiServer(body)
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    file = folder / "kubeconfig"
    file.write_text(
        f"clusters: [{{name: a, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\n"
        "users: [{name: a, user: {token: a}}]\n"
        "contexts: [{name: a, context: {cluster: a, user: a}}]\ncurrent-context: a\n"
    )
    async with server, connect(str(file)) as client:
        yield client, fake
