import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from osm_probes.canary.webhook import ask_bundle, ask_certificate, ask_review, validity
from osm_probes.health.checks import UnhealthyError
from osm_probes.health.judge_state import WebhookCanary
from osm_probes.pki.authority import Authority
from osm_probes.pki.certificate import Certificate
from tests.certificates import server_context

NAME = "osm-injector.osm-system.svc"
AUTHORITY = Authority.create("webhook-test")
VALID = AUTHORITY.issue(NAME, validity=timedelta(hours=1))
PATCH = [{"op": "add", "path": "/spec/containers/-", "value": {"name": "envoy"}}]


def review(*, allowed: bool = True, patch: object = PATCH, kind: str = "JSONPatch") -> bytes:
    text = base64.b64encode(msgspec.json.encode(patch)).decode()
    return msgspec.json.encode({"response": {"uid": "1", "allowed": allowed, "patchType": kind, "patch": text}})


def answer(body: bytes, *, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


@asynccontextmanager
async def webhook(said: bytes = b"", *, certificate: Certificate = VALID) -> AsyncIterator[WebhookCanary]:
    """A webhook that says this to each request, and how to dial it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(2)
        except (EOFError, OSError):
            request = b""
        if request.startswith(b"POST /mutate-pod-creation HTTP/1.1\r\n") and request.endswith(b"{}"):
            writer.write(said)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context(certificate))
    try:
        yield WebhookCanary(
            address="127.0.0.1",
            port=server.sockets[0].getsockname()[1],
            server_name=NAME,
            bundle_pem=AUTHORITY.root_pem,
            path="/mutate-pod-creation",
            body=b"{}",
        )
    finally:
        server.close()
        await server.wait_closed()


async def test_a_webhook_that_patches_says_yes_to_all_three() -> None:
    async with webhook(answer(review())) as canary:
        await ask_certificate(canary, within=5)
        await ask_bundle(canary, within=5)
        await ask_review(canary, within=5)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"", "the webhook answers nothing"),
        (answer(b"x", status="500 Internal Server Error"), "the webhook answers 500 Internal Server Error"),
        (answer(b"noise"), "no review with a patch"),
        (answer(b"{}"), "no review with a patch"),
        (answer(review(allowed=False)), "refuses the synthetic pod"),
        (answer(review(patch=[])), "without a sidecar"),
        (answer(review(patch="text")), "no review with a patch"),
        (answer(review(kind="")), "without a sidecar"),
        (answer(review())[:-20], "no review with a patch"),
        (answer(b"x" * 2_000_000), "has no end"),
    ],
)
async def test_a_webhook_that_does_not_patch_says_no_with_the_reason(said: bytes, reason: str) -> None:
    async with webhook(said) as canary:
        with pytest.raises(UnhealthyError, match=reason):
            await ask_review(canary, within=5)


async def test_an_expired_certificate_is_named_with_its_date_and_the_review_still_judged() -> None:
    expired = AUTHORITY.issue(NAME, validity=timedelta(hours=-1))
    async with webhook(answer(review()), certificate=expired) as canary:
        with pytest.raises(UnhealthyError, match=f"served certificate expired at {expired.not_after:%FT%TZ}$"):
            await ask_certificate(canary, within=5)
        with pytest.raises(UnhealthyError, match="certificate has expired"):
            await ask_bundle(canary, within=5)
        await ask_review(canary, within=5)


async def test_a_certificate_of_the_future_is_not_in_date() -> None:
    tomorrow = AUTHORITY.issue(NAME, validity=timedelta(days=1), now=lambda: datetime.now(UTC) + timedelta(days=1))
    async with webhook(certificate=tomorrow) as canary:
        with pytest.raises(UnhealthyError, match="not valid before"):
            await ask_certificate(canary, within=5)


async def test_a_bundle_that_does_not_trust_it_is_the_bundle_s_no_alone() -> None:
    foreign = Authority.create("foreign").issue(NAME, validity=timedelta(hours=1))
    async with webhook(answer(review()), certificate=foreign) as canary:
        with pytest.raises(UnhealthyError, match="the server's certificate: "):
            await ask_bundle(canary, within=5)
        await ask_certificate(canary, within=5)
        await ask_review(canary, within=5)


@pytest.mark.parametrize("bundle", [b"", b"noise"])
async def test_an_unreadable_bundle_is_said(bundle: bytes) -> None:
    async with webhook() as canary:
        with pytest.raises(UnhealthyError, match="the CA bundle cannot be read"):
            await ask_bundle(msgspec.structs.replace(canary, bundle_pem=bundle), within=5)


@pytest.mark.parametrize("year", [1995, 2026, 2045])
def test_the_dates_of_a_certificate_are_read_from_its_bytes(year: int) -> None:
    """RFC 5280, 4.1.2.5: dates from 2050 on have another form, and a root lives ten years."""
    root = Authority.create("root", now=lambda: datetime(year, 1, 2, 3, 4, 5, tzinfo=UTC))
    certificate = x509.load_pem_x509_certificate(root.root_pem)
    dates = (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    assert validity(certificate.public_bytes(Encoding.DER)) == dates


@pytest.mark.parametrize("noise", [b"", b"\x30", b"\x30\x03\x30\x01\x02", b"noise"])
def test_noise_is_no_certificate(noise: bytes) -> None:
    with pytest.raises(UnhealthyError, match="cannot be read"):
        validity(noise)
