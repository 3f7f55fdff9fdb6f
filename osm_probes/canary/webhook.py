"""Webhook canary -> healthy or not: connects to the webhook and posts a review as the API server does."""

import asyncio
import base64
import ssl
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from osm_probes.canary.connection import Exchange, Target, connect_and_run
from osm_probes.canary.json_patch import InapplicablePatchError, PatchOperation, apply_patch
from osm_probes.canary.patched_pod import check_patched_pod
from osm_probes.health.checks import UnhealthyError
from osm_probes.health.judge_state import WebhookCanary

_RESPONSE_LIMIT: Final = 1 << 20
_CHUNK: Final = 65536


class _Status(Struct):
    message: str = ""


class _Response(Struct):
    allowed: bool = False
    patch: str = ""
    status: _Status = msgspec.field(default_factory=_Status)
    patchType: str = ""  # noqa: N815 - the API's field name


class _Review(Struct):
    response: _Response


class _Request(Struct):
    object: Any


class _SentReview(Struct):
    request: _Request


async def check_certificate(canary: WebhookCanary, *, within: float) -> None:
    """Check that the served certificate is within its validity period. Raises UnhealthyError."""
    certificate = await _connect_and_run(canary, _unverified_context(), _served_certificate, within=within)
    not_before, not_after = validity(certificate)
    now = datetime.now(UTC)
    if now >= not_after:
        raise UnhealthyError(f"the served certificate expired at {not_after:%FT%TZ}")
    if now < not_before:
        raise UnhealthyError(f"the served certificate is not valid before {not_before:%FT%TZ}")


async def check_bundle(canary: WebhookCanary, *, within: float) -> None:
    """Check that an API server that trusts the CA bundle accepts the served certificate. Raises UnhealthyError."""
    if canary.no_bundle:
        raise UnhealthyError(canary.no_bundle)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=canary.bundle_pem.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise UnhealthyError(f"the CA bundle cannot be read: {error}") from error
    await _connect_and_run(canary, context, _served_certificate, within=within)


async def check_review(canary: WebhookCanary, *, within: float) -> None:
    """Check that a synthetic pod gets a patch that gives it a usable sidecar. Raises UnhealthyError.

    The certificate is left to the other checks.
    """
    authorization = f"Authorization: Bearer {canary.token}\r\n" if canary.token else ""
    head = (
        f"POST {canary.path} HTTP/1.1\r\nHost: {canary.server_name}\r\nContent-Type: application/json\r\n"
        f"{authorization}Content-Length: {len(canary.body)}\r\nConnection: close\r\n\r\n"
    )

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(head.encode("ascii") + canary.body)
        response = b""
        while chunk := await reader.read(_CHUNK):
            response += chunk
            if len(response) > _RESPONSE_LIMIT:
                raise UnhealthyError("the webhook's response is too long")
        return response

    operations = _patch(await _connect_and_run(canary, _unverified_context(), exchange, within=within))
    pod = msgspec.json.decode(canary.body, type=_SentReview).request.object
    try:
        patched = apply_patch(pod, operations)
    except InapplicablePatchError as error:
        reason = "the webhook's patch does not fit the synthetic pod"
        raise UnhealthyError(reason, detail=f"{reason}: {error}") from error
    check_patched_pod(patched, canary.expected)


async def _connect_and_run(
    canary: WebhookCanary, context: ssl.SSLContext, exchange: Exchange[bytes], *, within: float
) -> bytes:
    target = Target(address=canary.address, port=canary.port, context=context, server_name=canary.server_name)
    return await connect_and_run(target, exchange, within=within)


async def _served_certificate(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The server's certificate in DER."""
    certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return certificate


def _patch(response: bytes) -> list[PatchOperation]:
    """The patch in the webhook's response. Raises UnhealthyError if there is none."""
    head, _, body = response.partition(b"\r\n\r\n")
    status = head.partition(b"\r\n")[0].decode("latin-1")
    if not status.startswith("HTTP/1.1 200"):
        raise UnhealthyError(f"the webhook answers {status.removeprefix('HTTP/1.1 ') or 'nothing'}")
    try:
        review = msgspec.json.decode(body, type=_Review).response
        if not review.allowed:
            reason = "the webhook refuses the synthetic pod"
            raise UnhealthyError(reason, detail=f"{reason}: {review.status.message}")
        patch = base64.b64decode(review.patch, validate=True)
        operations = msgspec.json.decode(patch, type=list[PatchOperation]) if patch else []
    except (ValueError, RecursionError) as error:
        raise UnhealthyError(f"the webhook's response is not a review with a patch: {error}") from error
    if review.patchType != "JSONPatch" or not operations:
        raise UnhealthyError("the webhook does not add a sidecar to the synthetic pod")
    return operations


def _unverified_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def validity(certificate: bytes) -> tuple[datetime, datetime]:
    """The notBefore and notAfter of a certificate in DER. Raises UnhealthyError if it is unreadable.

    The cryptography library would do this, but it needs 10 MB of the judge's memory.
    RFC 5280, 4.1: Certificate { TBSCertificate { [0] version, serial, signature, issuer, validity { from, to }, … } … }
    """
    try:
        fields = _elements(_elements(_elements(certificate)[0][1])[0][1])
        if fields[0][0] == 0xA0:  # the version is optional
            fields = fields[1:]
        not_before, not_after = _elements(fields[3][1])[:2]
        return _time(not_before), _time(not_after)
    except (IndexError, ValueError) as error:
        raise UnhealthyError("the served certificate cannot be read") from error


def _elements(content: bytes) -> list[tuple[int, bytes]]:
    """Tag and content of each DER element."""
    elements = []
    while content:
        tag, length, at = content[0], content[1], 2
        if length & 0x80:
            at += length & 0x7F
            length = int.from_bytes(content[2:at], "big")
        elements.append((tag, content[at : at + length]))
        content = content[at + length :]
    return elements


def _time(element: tuple[int, bytes]) -> datetime:
    tag, text = element[0], element[1].decode("ascii")
    if tag == 0x17:  # UTCTime has two digits for the year; 50 to 99 are 19xx
        text = ("19" if text >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
