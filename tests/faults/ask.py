"""One real question: a proxy's to the ADS, an API server's to the webhook. Returns if it was served."""

import asyncio
import json
import ssl
from pathlib import Path

import grpc
import grpc.aio
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest

from osm_probes.mesh.ports import REVIEW_PATH
from osm_probes.snapshot.snapshot import CLUSTER
from tests.ads.dial import STREAM, dialled
from tests.certificates import client_context
from tests.faults.identity import Credentials

WEBHOOK_NAME = "osm-injector.osm-system.svc"
_REQUEST = DiscoveryRequest(type_url=CLUSTER).SerializeToString()
_POD = {
    "metadata": {"name": "truth", "annotations": {"openservicemesh.io/sidecar-injection": "enabled"}},
    "spec": {"containers": [{"name": "app", "image": "example.org/app:1"}]},
}
_REVIEW = json.dumps({
    "apiVersion": "admission.k8s.io/v1",
    "kind": "AdmissionReview",
    "request": {
        "uid": "5f0e7a3c-0000-4000-8000-000000000001",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "operation": "CREATE",
        "namespace": "bookbuyer",
        # Without an API server nothing can be stored, but then nobody asks.
        "dryRun": True,
        "object": _POD,
    },
}).encode()  # fmt: skip


class NotServedError(Exception):
    """A healthy client was not served; the text says what it saw."""


async def ask_ads(port: int, known: Credentials) -> None:
    """A new connection with mTLS, a stream, the proxy's clusters. Raises NotServedError."""
    try:
        async with dialled(port, known.certificate, root_pem=known.root_pem) as channel:
            call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(STREAM)()
            try:
                await call.write(_REQUEST)
                if not isinstance(await call.read(), bytes):
                    raise NotServedError(_words(await call.code(), await call.details()))
            finally:
                call.cancel()
    except grpc.aio.AioRpcError as error:
        raise NotServedError(_words(error.code(), error.details())) from error
    except (asyncio.InvalidStateError, grpc.aio.UsageError) as error:
        raise NotServedError(f"the stream ended: {error}") from error


def _words(code: grpc.StatusCode, details: str | None) -> str:
    """grpc's chain of errors without its links: the last one is the fact."""
    links = [link for link in (details or "").split(": ") if link != "OK"]
    return f"{code.name}: {links[-1] if links else 'no reason given'}"


async def ask_webhook(port: int, known: Credentials) -> None:
    """A pod's review over verified TLS, answered with a patch. Raises NotServedError."""
    context = client_context(known.root_pem)
    _check(await _posted(port, REVIEW_PATH, _REVIEW, context=context, name=WEBHOOK_NAME))


async def ask_pod(port: int, keys: Path) -> None:
    """A new pod in a dry run of the API server's, which must have a sidecar. Raises NotServedError."""
    context = ssl.create_default_context(cafile=str(keys / "ca.crt"))
    context.load_cert_chain(keys / "admin.crt", keys / "admin.key")
    path = "/api/v1/namespaces/bookbuyer/pods?dryRun=All"
    answer = await _posted(port, path, json.dumps(_POD).encode(), context=context, name="localhost")
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.partition(b"\r\n")[0].decode(errors="replace")
    if not status.startswith("HTTP/1.1 201"):
        raise NotServedError(f"the API server answers {status or 'nothing'}")
    if b'"name":"envoy"' not in body:
        raise NotServedError("a pod is created without a sidecar")


async def _posted(port: int, path: str, body: bytes, *, context: ssl.SSLContext, name: str) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {name}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    try:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname=name, ssl_shutdown_timeout=0.1
        )
        try:
            writer.write(head.encode() + body)
            return await reader.read(-1)
        finally:
            writer.transport.abort()
    except ssl.SSLCertVerificationError as error:
        raise NotServedError(f"TLS: {error.verify_message}") from error
    except OSError as error:
        raise NotServedError(f"{type(error).__name__}: {error.strerror or error}") from error


def _check(answer: bytes) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.partition(b"\r\n")[0].decode(errors="replace")
    if not status.startswith("HTTP/1.1 200"):
        raise NotServedError(f"the webhook answers {status or 'nothing'}")
    response = json.loads(body)["response"]
    if not (response["allowed"] and response.get("patch")):
        raise NotServedError("the webhook gives no patch")
