"""Webhook canary -> yes, or no with a reason: the injector dials itself as the API server does."""

import asyncio
import base64
import ssl
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import Struct

from osm_probes.canary.dial import Dial, Talk, asked
from osm_probes.health.checks import UnhealthyError
from osm_probes.health.judge_state import WebhookCanary

_ANSWER_LIMIT: Final = 1 << 20
_CHUNK: Final = 65536


class _Status(Struct):
    message: str = ""


class _Response(Struct):
    allowed: bool = False
    patch: str = ""
    status: _Status = msgspec.field(default_factory=_Status)
    patchType: str = ""  # noqa: N815 - the API's name


class _Review(Struct):
    response: _Response


async def ask_certificate(canary: WebhookCanary, *, within: float) -> None:
    """Whether the certificate that it serves now is in date. Raises UnhealthyError."""
    served = await _asked(canary, _trusting_all(), _served, within=within)
    not_before, not_after = validity(served)
    now = datetime.now(UTC)
    if now >= not_after:
        raise UnhealthyError(f"the served certificate expired at {not_after:%FT%TZ}")
    if now < not_before:
        raise UnhealthyError(f"the served certificate is not valid before {not_before:%FT%TZ}")


async def ask_bundle(canary: WebhookCanary, *, within: float) -> None:
    """Whether an API server that trusts the bundle would accept what it serves. Raises UnhealthyError."""
    if canary.no_bundle:
        raise UnhealthyError(canary.no_bundle)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=canary.bundle_pem.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise UnhealthyError(f"the CA bundle cannot be read: {error}") from error
    await _asked(canary, context, _served, within=within)


async def ask_review(canary: WebhookCanary, *, within: float) -> None:
    """Whether a pod gets a patch. Raises UnhealthyError. Trust is the other checks' question."""
    head = (
        f"POST {canary.path} HTTP/1.1\r\nHost: {canary.server_name}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(canary.body)}\r\nConnection: close\r\n\r\n"
    )

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(head.encode("ascii") + canary.body)
        answer = b""
        while chunk := await reader.read(_CHUNK):
            answer += chunk
            if len(answer) > _ANSWER_LIMIT:
                raise UnhealthyError("the webhook's answer has no end")
        return answer

    _judge(await _asked(canary, _trusting_all(), talk, within=within))


async def _asked(canary: WebhookCanary, context: ssl.SSLContext, talk: Talk[bytes], *, within: float) -> bytes:
    dial = Dial(address=canary.address, port=canary.port, context=context, server_name=canary.server_name)
    return await asked(dial, talk, within=within)


async def _served(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The certificate that it shows."""
    certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return certificate


def _judge(answer: bytes) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.partition(b"\r\n")[0].decode("latin-1")
    if not status.startswith("HTTP/1.1 200"):
        raise UnhealthyError(f"the webhook answers {status.removeprefix('HTTP/1.1 ') or 'nothing'}")
    try:
        response = msgspec.json.decode(body, type=_Review).response
        if not response.allowed:
            raise UnhealthyError(f"the webhook refuses the synthetic pod: {response.status.message}")
        patch = msgspec.json.decode(base64.b64decode(response.patch, validate=True), type=list[dict[str, msgspec.Raw]])
    except ValueError as error:
        raise UnhealthyError(f"the webhook's answer is no review with a patch: {error}") from error
    if response.patchType != "JSONPatch" or not patch:
        raise UnhealthyError("the webhook leaves the synthetic pod without a sidecar")


def _trusting_all() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def validity(certificate: bytes) -> tuple[datetime, datetime]:
    """When a certificate in DER begins and ends to be valid; cryptography would cost the judge 10 MB for this.

    RFC 5280, 4.1: Certificate { TBSCertificate { [0] version, serial, signature, issuer, validity { from, to }, … } … }
    """
    try:
        parts = _parts(_parts(_parts(certificate)[0][1])[0][1])
        if parts[0][0] == 0xA0:  # a version is optional
            parts = parts[1:]
        begin, end = _parts(parts[3][1])[:2]
        return _time(begin), _time(end)
    except (IndexError, ValueError) as error:
        raise UnhealthyError("the served certificate cannot be read") from error


def _parts(content: bytes) -> list[tuple[int, bytes]]:
    """Tag and content of each element."""
    parts = []
    while content:
        tag, length, at = content[0], content[1], 2
        if length & 0x80:
            at += length & 0x7F
            length = int.from_bytes(content[2:at], "big")
        parts.append((tag, content[at : at + length]))
        content = content[at + length :]
    return parts


def _time(element: tuple[int, bytes]) -> datetime:
    tag, text = element[0], element[1].decode("ascii")
    if tag == 0x17:  # UTCTime: two digits of the year, 50 to 99 are 19xx
        text = ("19" if text >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
