import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from osm_probes.admission.canary_review import canary_namespace_metadata, canary_review
from osm_probes.admission.json_patch import Operation
from osm_probes.admission.options import InjectionOptions
from osm_probes.admission.patch import inject_sidecar
from osm_probes.admission.pod import decode_pod
from osm_probes.canary.webhook import check_bundle, check_certificate, check_review, validity
from osm_probes.health.checks import UnhealthyError
from osm_probes.health.judge_state import ExpectedSidecar, WebhookCanary
from osm_probes.pki.authority import Authority
from osm_probes.pki.certificate import Certificate
from tests.admission.pods import OPTIONS, UUID
from tests.certificates import server_context

NAME = "osm-injector.osm-system.svc"
AUTHORITY = Authority.create("webhook-test")
VALID = AUTHORITY.issue(NAME, validity=timedelta(hours=1))
EXPECTED = ExpectedSidecar(
    container="envoy",
    init_container="osm-init",
    secret_prefix="envoy-bootstrap-config-",
)
POD = msgspec.json.decode(canary_review())["request"]["object"]


def patch_of(options: InjectionOptions = OPTIONS) -> list[Operation]:
    """The patch with which a webhook answers the canary's review."""
    pod = decode_pod(msgspec.json.encode(POD))
    metadata = canary_namespace_metadata(options)
    return list(inject_sidecar(pod, uuid=UUID, namespace="self", metadata=metadata, options=options).operations)


PATCH = patch_of()


def review(*, allowed: bool = True, patch: object = PATCH, kind: str = "JSONPatch") -> bytes:
    text = base64.b64encode(msgspec.json.encode(patch)).decode()
    return msgspec.json.encode({"response": {"uid": "1", "allowed": allowed, "patchType": kind, "patch": text}})


def http_response(body: bytes, *, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


@asynccontextmanager
async def webhook(response: bytes = b"", *, certificate: Certificate = VALID) -> AsyncIterator[WebhookCanary]:
    """The canary of a webhook that sends this response to every request."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(len(canary_review()))
        except (EOFError, OSError):
            request = body = b""
        if request.startswith(b"POST /mutate-pod-creation HTTP/1.1\r\n") and b"AdmissionReview" in body:
            writer.write(response)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context(certificate))
    try:
        yield WebhookCanary(
            address="127.0.0.1",
            port=server.sockets[0].getsockname()[1],
            server_name=NAME,
            bundle_pem=AUTHORITY.root_pem,
            path="/mutate-pod-creation",
            body=canary_review(),
            expected=EXPECTED,
        )
    finally:
        server.close()
        await server.wait_closed()


async def test_a_webhook_that_patches_pods_passes_all_three_checks() -> None:
    async with webhook(http_response(review())) as canary:
        await check_certificate(canary, within=5)
        await check_bundle(canary, within=5)
        await check_review(canary, within=5)


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (b"", "the webhook answers nothing"),
        (http_response(b"x", status="500 Internal Server Error"), "the webhook answers 500 Internal Server Error"),
        (http_response(b"noise"), "not a review with a patch"),
        (http_response(b"{}"), "not a review with a patch"),
        (http_response(review(allowed=False)), "refuses the synthetic pod"),
        (http_response(review(patch=[])), "does not add a sidecar"),
        (http_response(review(patch="text")), "not a review with a patch"),
        (http_response(review(kind="")), "does not add a sidecar"),
        (http_response(review())[:-20], "not a review with a patch"),
        (http_response(b"x" * 2_000_000), "is too long"),
    ],
)
async def test_a_webhook_that_does_not_patch_is_unhealthy_with_the_reason(response: bytes, reason: str) -> None:
    async with webhook(response) as canary:
        with pytest.raises(UnhealthyError, match=reason):
            await check_review(canary, within=5)


@pytest.mark.parametrize("native", [False, True])
async def test_a_patch_for_either_kind_of_sidecar_is_usable(native: bool) -> None:  # noqa: FBT001 - a table's column
    patch = patch_of(replace(OPTIONS, native_sidecar=native))
    async with webhook(http_response(review(patch=patch))) as canary:
        await check_review(canary, within=5)


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        (patch_of(replace(OPTIONS, sidecar_image="")), "container envoy has no image"),
        (patch_of(replace(OPTIONS, init_image="")), "container osm-init has no image"),
        (patch_of(replace(OPTIONS, sidecar_image=" ")), "container envoy has no image"),
        (patch_of(replace(OPTIONS, sidecar_image="envoy:1 ")), "the image of envoy has spaces"),
        ([*PATCH, {"op": "remove", "path": "/spec/volumes"}], "mounts a volume that the pod does not have"),
        ([*PATCH, {"op": "remove", "path": "/spec/initContainers"}], "it has no init container osm-init"),
        ([*PATCH, {"op": "remove", "path": "/metadata/labels"}], "its label osm-proxy-uuid is no uuid"),
        ([*PATCH, {"op": "remove", "path": "/spec/containers/1"}], "it has no container envoy that keeps running"),
        ([*PATCH, {"op": "replace", "path": "/spec/containers/0/name", "value": "envoy"}], "have the same name"),
        (
            [*PATCH, {"op": "replace", "path": "/spec/volumes/0/secret/secretName", "value": "other"}],
            "does not mount the Secret with the bootstrap",
        ),
        (
            [*PATCH, {"op": "replace", "path": "/spec/containers/0/livenessProbe/httpGet/port", "value": 80}],
            "the liveness probe of the application does not go through the sidecar",
        ),
        ([*PATCH, {"op": "replace", "path": "/spec/containers", "value": 7}], "the patched pod is no pod"),
        ([{"op": "replace", "path": "/spec/nothing/0", "value": 7}], "patch does not fit the synthetic pod"),
        ([{"op": "add", "path": "/metadata/labels", "value": {"any": "text"}}], "would not work"),
    ],
)
async def test_a_patch_that_makes_no_usable_pod_is_unhealthy_with_the_reason(
    patch: list[Operation], reason: str
) -> None:
    async with webhook(http_response(review(patch=patch))) as canary:
        with pytest.raises(UnhealthyError, match=reason):
            await check_review(canary, within=5)


async def test_the_reason_of_a_refused_review_is_a_detail_because_it_may_have_names() -> None:
    async with webhook(http_response(review(allowed=False))) as canary:
        with pytest.raises(UnhealthyError) as caught:
            await check_review(canary, within=5)
    assert str(caught.value) == "the webhook refuses the synthetic pod"
    assert caught.value.detail.startswith("the webhook refuses the synthetic pod: ")


async def test_an_expired_certificate_is_reported_with_its_date_and_does_not_fail_the_review_check() -> None:
    expired = AUTHORITY.issue(NAME, validity=timedelta(hours=-1))
    async with webhook(http_response(review()), certificate=expired) as canary:
        with pytest.raises(UnhealthyError, match=f"served certificate expired at {expired.not_after:%FT%TZ}$"):
            await check_certificate(canary, within=5)
        with pytest.raises(UnhealthyError, match="certificate has expired"):
            await check_bundle(canary, within=5)
        await check_review(canary, within=5)


async def test_a_certificate_that_is_not_valid_yet_is_unhealthy() -> None:
    tomorrow = AUTHORITY.issue(NAME, validity=timedelta(days=1), now=lambda: datetime.now(UTC) + timedelta(days=1))
    async with webhook(certificate=tomorrow) as canary:
        with pytest.raises(UnhealthyError, match="not valid before"):
            await check_certificate(canary, within=5)


async def test_a_ca_bundle_that_does_not_trust_the_certificate_fails_only_the_bundle_check() -> None:
    foreign = Authority.create("foreign").issue(NAME, validity=timedelta(hours=1))
    async with webhook(http_response(review()), certificate=foreign) as canary:
        with pytest.raises(UnhealthyError, match="the server's certificate: "):
            await check_bundle(canary, within=5)
        await check_certificate(canary, within=5)
        await check_review(canary, within=5)


@pytest.mark.parametrize("bundle", [b"", b"noise"])
async def test_an_unreadable_ca_bundle_is_reported(bundle: bytes) -> None:
    async with webhook() as canary:
        with pytest.raises(UnhealthyError, match="the CA bundle cannot be read"):
            await check_bundle(msgspec.structs.replace(canary, bundle_pem=bundle), within=5)


@pytest.mark.parametrize("year", [1995, 2026, 2045])
def test_the_validity_of_a_certificate_is_read_from_its_der_bytes(year: int) -> None:
    """RFC 5280, 4.1.2.5: dates from 2050 on have another encoding. A root is valid for ten years."""
    root = Authority.create("root", now=lambda: datetime(year, 1, 2, 3, 4, 5, tzinfo=UTC))
    certificate = x509.load_pem_x509_certificate(root.root_pem)
    dates = (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    assert validity(certificate.public_bytes(Encoding.DER)) == dates


@pytest.mark.parametrize("noise", [b"", b"\x30", b"\x30\x03\x30\x01\x02", b"noise"])
def test_bytes_that_are_not_a_certificate_are_refused(noise: bytes) -> None:
    with pytest.raises(UnhealthyError, match="cannot be read"):
        validity(noise)


async def test_the_review_has_the_token_that_a_webhook_with_a_client_ca_demands() -> None:
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(http_response(review()))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context(VALID)) as server:
        canary = WebhookCanary(
            address="127.0.0.1",
            port=server.sockets[0].getsockname()[1],
            server_name=NAME,
            bundle_pem=b"",
            path="/",
            body=canary_review(),
            expected=EXPECTED,
            token="secret",
        )
        await check_review(canary, within=5)
    assert b"\r\nAuthorization: Bearer secret\r\n" in received[0]
    assert "secret" not in repr(canary)
