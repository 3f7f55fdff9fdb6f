"""Which CA signs and which roots are trusted, for each state of the CA Secret; the steps of a rotation."""

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from osm_probes.cluster.ca_rotation import CaRotation
from osm_probes.cluster.ca_secret import StoredCa
from osm_probes.cluster.ca_secret_content import (
    CaSecretContent,
    CaSecretError,
    decode_ca_secret,
    load_authorities,
    next_trust,
)
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.tasks import background_tasks
from osm_probes.mesh.labels import CA_SIGNS_SINCE
from osm_probes.pki.authority import Authority, InvalidAuthorityError
from osm_probes.pki.trust import Trust, split_roots

A, B, C = (Authority.create("osm-ca") for _ in range(3))
EXPIRED = Authority.create("osm-ca", now=lambda: datetime.now(UTC) - timedelta(days=4000))


def content(
    target: Authority, *, previous: tuple[Authority, ...] = (), key: Authority | None = None
) -> CaSecretContent:
    roots = b"".join(authority.root_pem for authority in previous)
    return CaSecretContent(target.root_pem, target.key_pem, roots, key.key_pem if key else b"")


def trust(signer: Authority, *others: Authority) -> Trust:
    return Trust.of(signer, [other.root_pem for other in others])


@pytest.mark.parametrize(
    ("stored", "current", "expected"),
    [
        (content(A), None, trust(A)),
        (content(A), trust(A), trust(A)),
        # A new CA was put in: it is trusted, and the old one signs.
        (content(B), trust(A), trust(A, B)),
        (content(B, previous=(A,), key=A), trust(A, B), trust(A, B)),
        # A program that starts during the rotation.
        (content(B, previous=(A,), key=A), None, trust(A, B)),
        # The new CA signs.
        (content(B, previous=(A,)), trust(A, B), trust(B, A)),
        (content(B, previous=(A,)), None, trust(B, A)),
        (content(B), trust(B, A), trust(B)),
        # A third CA, before the second one signs and after.
        (content(C, previous=(A,), key=A), trust(A, B), trust(A, C)),
        (content(C, previous=(A,)), trust(B, A), trust(B, A, C)),
        (content(C, previous=(B, A), key=B), trust(B, A, C), trust(B, A, C)),
        # The rotation is cancelled: the old CA is put back.
        (content(A, previous=(A,), key=A), trust(A, B), trust(A)),
        # An expired CA neither signs nor is trusted.
        (content(B, previous=(EXPIRED,), key=EXPIRED), None, trust(B)),
        (content(B), trust(EXPIRED), trust(B)),
    ],
)
def test_the_secret_decides_which_ca_signs_and_which_roots_are_trusted(
    stored: CaSecretContent, current: Trust | None, expected: Trust
) -> None:
    assert next_trust(load_authorities(stored), current=current) == expected


def test_ca_crt_may_contain_several_roots() -> None:
    stored = CaSecretContent(A.root_pem + b"a comment\n" + B.root_pem.replace(b"\n", b"\r\n"), A.key_pem)
    assert next_trust(load_authorities(stored)) == trust(A, B)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (CaSecretContent(A.root_pem, A.key_pem, b"", B.key_pem), "it has previous.key, but no previous.crt"),
        (CaSecretContent(A.root_pem, A.key_pem, B.root_pem, C.key_pem), "does not belong to the root certificate"),
        (CaSecretContent(A.root_pem, A.key_pem, b"nonsense"), "a root certificate cannot be read"),
        (CaSecretContent(A.root_pem, b""), "it has no private.key"),
    ],
)
def test_unusable_contents_are_rejected(stored: CaSecretContent, message: str) -> None:
    with pytest.raises(InvalidAuthorityError, match=message):
        load_authorities(stored)


def test_the_order_of_the_roots_does_not_matter() -> None:
    assert trust(A, B, C).roots_pem == trust(A, C, B).roots_pem
    assert trust(A, B).roots_pem == trust(B, A).roots_pem
    assert trust(A, B).fingerprint != trust(B, A).fingerprint
    assert len(split_roots(trust(A, A, B).roots_pem)) == 2


@pytest.mark.parametrize("secret", [b"nonsense", b'{"data": {"ca.crt": "*"}}', b'{"data": {"ca.crt": 1}}'])
def test_invalid_json_of_a_secret_is_rejected(secret: bytes) -> None:
    with pytest.raises(CaSecretError, match="cannot be read"):
        decode_ca_secret(secret)


class FakeSecret:
    """A CA Secret without an API server; the trust follows at once. history: the state after each change."""

    def __init__(self, target: Authority, current: Trust) -> None:
        self.object: dict[str, Any] = {"metadata": {"resourceVersion": "1"}, "data": {}}
        self.trust = Latest(current)
        self.stored: Latest[StoredCa | None] = Latest(None)
        self.history: list[tuple[Authority, int, bool]] = []
        self.put(target)

    def put(self, target: Authority) -> None:
        """Replace the CA, as a person does."""
        self.object["data"] |= {"ca.crt": _base64(target.root_pem), "private.key": _base64(target.key_pem)}
        self._apply()

    async def patch(self, stored: StoredCa, patch: Any) -> None:
        """Apply a merge patch."""
        assert stored is self.stored.value
        self.object = _merged(self.object, patch)
        self._apply()

    def _apply(self) -> None:
        version = int(self.object["metadata"]["resourceVersion"]) + 1
        self.object["metadata"]["resourceVersion"] = str(version)
        stored = StoredCa.of(decode_ca_secret(json.dumps(self.object).encode()))
        self.stored.set(stored)
        self.trust.set(next_trust(stored.authorities, current=self.trust.value))
        trust = self.trust.value
        self.history.append((trust.signer, len(split_roots(trust.roots_pem)), "previous.key" in self.object["data"]))


def _base64(value: bytes) -> str:
    return b64encode(value).decode()


def _merged(target: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        merged[name] = _merged(merged.get(name), value)
    return {name: value for name, value in merged.items() if value is not None}


class Harness:
    """A rotation without a mount delay. distributed: whether all proxies' Secrets have the newest trust."""

    def __init__(self, *, certificate_validity: float = -1.0) -> None:
        self.secret = FakeSecret(A, trust(A))
        self.distributed = True
        self.rotation = CaRotation(
            self.secret,  # type: ignore[arg-type]  # CaSecret itself is tested against a real API server
            self.secret.trust,
            is_leader=Latest(True),  # noqa: FBT003
            distributed_trust=lambda: self.secret.trust.value.fingerprint if self.distributed else "",
            certificate_validity=lambda: certificate_validity,
            mount_delay=0.0,
        )

    async def take_steps(self, *, times: int = 1) -> None:
        """Take the steps that are due, as the leader does once a second."""
        for _ in range(times):
            await self.rotation._take_step()


async def test_a_root_is_trusted_before_it_signs_and_after_it_stopped_signing() -> None:
    harness = Harness()
    harness.secret.put(B)
    await harness.take_steps(times=5)
    assert harness.secret.history == [
        (A, 1, False),
        (A, 2, False),
        (A, 2, True),
        (B, 2, False),
        (B, 1, False),
    ]
    assert set(harness.secret.object["data"]) == {"ca.crt", "private.key"}
    assert harness.secret.object["metadata"]["annotations"] == {}


async def test_a_new_ca_does_not_sign_before_all_proxies_trust_it() -> None:
    harness = Harness()
    harness.distributed = False
    harness.secret.put(B)
    await harness.take_steps(times=5)
    assert harness.secret.trust.value == trust(A, B)
    harness.distributed = True
    await harness.take_steps()
    assert harness.secret.trust.value == trust(B, A)


async def test_the_old_root_is_trusted_until_its_certificates_have_expired() -> None:
    harness = Harness(certificate_validity=3600.0)
    harness.secret.put(B)
    await harness.take_steps(times=10)
    assert harness.secret.trust.value == trust(B, A)
    # If the annotation with the time is removed, the period starts again.
    del harness.secret.object["metadata"]["annotations"][CA_SIGNS_SINCE]
    harness.secret.put(B)
    await harness.take_steps(times=2)
    assert CA_SIGNS_SINCE in harness.secret.object["metadata"]["annotations"]
    assert harness.secret.trust.value == trust(B, A)


async def test_a_third_ca_during_a_rotation_leaves_no_proxy_without_trust() -> None:
    harness = Harness(certificate_validity=3600.0)
    harness.secret.put(B)
    await harness.take_steps(times=2)
    assert harness.secret.trust.value == trust(B, A)
    harness.secret.put(C)
    await harness.take_steps()
    assert harness.secret.trust.value == trust(B, A, C)
    await harness.take_steps()
    assert harness.secret.trust.value == trust(C, A, B)


async def test_a_replica_that_is_not_the_leader_does_nothing() -> None:
    secret = FakeSecret(A, trust(A))
    rotation = CaRotation(
        secret,  # type: ignore[arg-type]  # as above
        secret.trust,
        is_leader=Latest(False),  # noqa: FBT003
        distributed_trust=lambda: "",
        certificate_validity=lambda: 0.0,
    )
    async with background_tasks(run=rotation.run()):
        secret.put(B)
    assert len(secret.history) == 2
