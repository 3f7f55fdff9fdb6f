"""A single request of a real client: of a proxy to the ADS, or of an API server to the webhook."""

import asyncio
import json
import ssl
from pathlib import Path

import grpc
import grpc.aio
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse

from osm_probes.admission.canary_review import canary_review
from osm_probes.mesh.ports import REVIEW_PATH
from osm_probes.snapshot.snapshot import CLUSTER, LISTENER
from tests.ads.client import STREAM, Call, open_channel
from tests.certificates import client_context
from tests.faults.identity import Credentials

WEBHOOK_NAME = "osm-injector.osm-system.svc"
_CLUSTERS = DiscoveryRequest(type_url=CLUSTER).SerializeToString()
_LISTENERS = DiscoveryRequest(type_url=LISTENER).SerializeToString()
_POD = {
    "metadata": {"generateName": "truth-", "annotations": {"openservicemesh.io/sidecar-injection": "enabled"}},
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
        # The rows without an API server have no Secrets to store a bootstrap in; a dry run stores none.
        "dryRun": True,
        "object": _POD,
    },
}).encode()  # fmt: skip


class NotServedError(Exception):
    """A healthy client was not served; the message is what it saw."""


async def request_ads(port: int, own_credentials: Credentials) -> None:
    """Open a connection and a stream, and receive the proxy's clusters and listeners. Raises NotServedError."""
    try:
        async with open_channel(port, own_credentials.certificate, root_pem=own_credentials.root_pem) as channel:
            call: Call = channel.stream_stream(STREAM)()
            try:
                await call.write(_CLUSTERS)
                await call.write(acknowledgement(await next_response(call)))
                await call.write(_LISTENERS)
                await next_response(call)
            finally:
                call.cancel()
    except grpc.aio.AioRpcError as error:
        raise NotServedError(_describe(error.code(), error.details())) from error
    except (asyncio.InvalidStateError, grpc.aio.UsageError) as error:
        raise NotServedError(f"the stream ended: {error}") from error


async def next_response(call: Call) -> DiscoveryResponse:
    """The next response of the ADS. Raises NotServedError if the stream ends."""
    message = await call.read()
    if not isinstance(message, bytes):
        raise NotServedError(_describe(await call.code(), await call.details()))
    return DiscoveryResponse.FromString(message)


def acknowledgement(response: DiscoveryResponse) -> bytes:
    """The ACK of a response."""
    request = DiscoveryRequest(
        type_url=response.type_url, version_info=response.version_info, response_nonce=response.nonce
    )
    return request.SerializeToString()


def _describe(code: grpc.StatusCode, details: str | None) -> str:
    """The status code and the last link of grpc's error chain, which is the cause."""
    links = [link for link in (details or "").split(": ") if link != "OK"]
    return f"{code.name}: {links[-1] if links else 'no reason given'}"


async def request_review(port: int, own_credentials: Credentials) -> None:
    """Send a pod's review over verified TLS and receive a patch. Raises NotServedError."""
    context = client_context(own_credentials.root_pem)
    _check_review(await _post(port, REVIEW_PATH, _REVIEW, context=context, name=WEBHOOK_NAME))


async def request_own_review(port: int, own_credentials: Credentials) -> None:
    """The same with the review of the program's canary, which no API server sends. Raises NotServedError."""
    context = client_context(own_credentials.root_pem)
    _check_review(await _post(port, REVIEW_PATH, canary_review(), context=context, name=WEBHOOK_NAME))


async def create_pod(port: int, keys: Path) -> None:
    """Have the API server create a pod in a dry run; the pod must have a sidecar. Raises NotServedError."""
    await _create_pod(port, "/api/v1/namespaces/bookbuyer/pods?dryRun=All", context=_admin_context(keys))


async def store_pod(port: int, keys: Path) -> None:
    """Have the API server create a pod, whose bootstrap is stored as well. Raises NotServedError."""
    await _create_pod(port, "/api/v1/namespaces/bookbuyer/pods", context=_admin_context(keys))


def _admin_context(keys: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(keys / "ca.crt"))
    context.load_cert_chain(keys / "admin.crt", keys / "admin.key")
    return context


async def _create_pod(port: int, path: str, *, context: ssl.SSLContext) -> None:
    response = await _post(port, path, json.dumps(_POD).encode(), context=context, name="localhost")
    head, _, body = response.partition(b"\r\n\r\n")
    status = head.partition(b"\r\n")[0].decode(errors="replace")
    if not status.startswith("HTTP/1.1 201"):
        raise NotServedError(f"the API server returns {status or 'no response'}")
    if b'"name":"envoy"' not in body:
        raise NotServedError("a pod is created without a sidecar")


async def _post(port: int, path: str, body: bytes, *, context: ssl.SSLContext, name: str) -> bytes:
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


def _check_review(answer: bytes) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.partition(b"\r\n")[0].decode(errors="replace")
    if not status.startswith("HTTP/1.1 200"):
        raise NotServedError(f"the webhook returns {status or 'no response'}")
    response = json.loads(body)["response"]
    if not (response["allowed"] and response.get("patch")):
        raise NotServedError("the webhook returns no patch")
