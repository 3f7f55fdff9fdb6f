"""A fake kubelet that serves container logs and port forwarding to an API server. It runs no pods."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from osm_probes.foundation.tasks import start
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.manifests import install
from tests.kubernetes.pki import ClusterPki

NODE = "node-1"
_DATA, _ERROR = b"\0", b"\1"


@dataclass
class FakeKubelet:
    """The logs and ports of pods.

    logs: by pod and container, the file of its log. previous_logs: the log before the last restart. ports: by pod and
    port, the port on this machine to which it is forwarded.
    """

    logs: dict[tuple[str, str], Path] = field(default_factory=dict)
    previous_logs: dict[tuple[str, str], str] = field(default_factory=dict)
    ports: dict[tuple[str, int], int] = field(default_factory=dict)

    async def log(self, request: web.Request) -> web.Response:
        """Serve a container's log."""
        key = (request.match_info["pod"], request.match_info["container"])
        if "previous" in request.query:
            text = self.previous_logs.get(key)
            return web.Response(text=text) if text is not None else web.Response(status=404)
        file = self.logs.get(key)
        return web.Response(body=file.read_bytes() if file else b"")

    async def forward(self, request: web.Request) -> web.WebSocketResponse:
        """Forward a pod's port, in WebSocket frames whose first byte is the channel."""
        frames = web.WebSocketResponse(protocols=["v4.channel.k8s.io"])
        await frames.prepare(request)
        port = int(request.query["port"])
        for channel in (_DATA, _ERROR):
            await frames.send_bytes(channel + port.to_bytes(2, "little"))
        try:
            local_port = self.ports[request.match_info["pod"], port]
            reader, writer = await asyncio.open_connection("127.0.0.1", local_port)
        except (KeyError, OSError):
            await frames.send_bytes(_ERROR + f"dial tcp4 127.0.0.1:{port}: connect: connection refused".encode())
            return frames
        sending = start(_send_to_port(frames, writer), name="send to port")
        with contextlib.suppress(ConnectionError):
            while content := await reader.read(4096):
                await frames.send_bytes(_DATA + content)
        sending.cancel()
        writer.close()
        return frames


@contextlib.contextmanager
def running_kubelet(cluster: ApiServer, *, folder: Path) -> Iterator[FakeKubelet]:
    """Run the kubelet of the cluster's only node."""
    kubelet = FakeKubelet()
    pki = ClusterPki(folder, addresses=["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.folder / "apiserver.crt", pki.folder / "apiserver.key")
    loop = asyncio.new_event_loop()

    async def close_connection(_: web.Request, response: web.StreamResponse) -> None:
        response.force_close()  # no connection stays open at the end of the test

    async def serve() -> tuple[web.AppRunner, int]:
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", kubelet.log)
        app.router.add_get("/portForward/{namespace}/{pod}", kubelet.forward)
        app.on_response_prepare.append(close_connection)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        return runner, int(runner.addresses[0][1])

    runner, port = loop.run_until_complete(serve())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    try:
        install(cluster, [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "status": status}])
        yield kubelet
    finally:
        asyncio.run_coroutine_threadsafe(_shut_down(runner), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _send_to_port(frames: web.WebSocketResponse, writer: asyncio.StreamWriter) -> None:
    async for message in frames:
        writer.write(message.data[1:])
    writer.close()


async def _shut_down(runner: web.AppRunner) -> None:
    await runner.cleanup()
    await asyncio.sleep(0.1)  # time for TLS to close its connections
