"""Who signs and who is trusted, whatever the Secret holds; which step of a rotation is next."""

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from osm_probes.cluster.ca_rotation import CaRotation
from osm_probes.cluster.ca_secret import Stored
from osm_probes.cluster.ca_secret_content import AuthoritySecretError, Content, authorities, content_of, trust_of
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.tasks import background_tasks
from osm_probes.mesh.labels import CA_SIGNS_SINCE
from osm_probes.pki.authority import Authority, InvalidAuthorityError
from osm_probes.pki.trust import Trust, roots_of

A, B, C = (Authority.create("osm-ca") for _ in range(3))
ENDED = Authority.create("osm-ca", now=lambda: datetime.now(UTC) - timedelta(days=4000))


def content(wanted: Authority, *, previous: tuple[Authority, ...] = (), key: Authority | None = None) -> Content:
    roots = b"".join(each.root_pem for each in previous)
    return Content(wanted.root_pem, wanted.key_pem, roots, key.key_pem if key else b"")


def trust(signer: Authority, *others: Authority) -> Trust:
    return Trust.of(signer, [each.root_pem for each in others])


@pytest.mark.parametrize(
    ("found", "now", "expected"),
    [
        (content(A), None, trust(A)),
        (content(A), trust(A), trust(A)),
        # Another pair came: it is trusted, and the old one signs.
        (content(B), trust(A), trust(A, B)),
        (content(B, previous=(A,), key=A), trust(A, B), trust(A, B)),
        # A program that starts in the middle of it.
        (content(B, previous=(A,), key=A), None, trust(A, B)),
        # It signs.
        (content(B, previous=(A,)), trust(A, B), trust(B, A)),
        (content(B, previous=(A,)), None, trust(B, A)),
        (content(B), trust(B, A), trust(B)),
        # A third one before the second one signed, and after.
        (content(C, previous=(A,), key=A), trust(A, B), trust(A, C)),
        (content(C, previous=(A,)), trust(B, A), trust(B, A, C)),
        (content(C, previous=(B, A), key=B), trust(B, A, C), trust(B, A, C)),
        # Thought better of.
        (content(A, previous=(A,), key=A), trust(A, B), trust(A)),
        # What has ended neither signs nor is trusted.
        (content(B, previous=(ENDED,), key=ENDED), None, trust(B)),
        (content(B), trust(ENDED), trust(B)),
    ],
)
def test_who_signs_and_who_is_trusted(found: Content, now: Trust | None, expected: Trust) -> None:
    assert trust_of(authorities(found), now=now) == expected


def test_more_roots_than_one_may_be_given() -> None:
    found = Content(A.root_pem + b"a remark\n" + B.root_pem.replace(b"\n", b"\r\n"), A.key_pem)
    assert trust_of(authorities(found)) == trust(A, B)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Content(A.root_pem, A.key_pem, b"", B.key_pem), "it has previous.key, but no previous.crt"),
        (Content(A.root_pem, A.key_pem, B.root_pem, C.key_pem), "does not belong to the root certificate"),
        (Content(A.root_pem, A.key_pem, b"nonsense"), "a root certificate cannot be read"),
        (Content(A.root_pem, b""), "it has no private.key"),
    ],
)
def test_what_cannot_be_used_is_refused(found: Content, words: str) -> None:
    with pytest.raises(InvalidAuthorityError, match=words):
        authorities(found)


def test_the_order_in_which_roots_came_does_not_count() -> None:
    assert trust(A, B, C).roots_pem == trust(A, C, B).roots_pem
    assert trust(A, B).roots_pem == trust(B, A).roots_pem
    assert trust(A, B).mark != trust(B, A).mark
    assert len(roots_of(trust(A, A, B).roots_pem)) == 2


@pytest.mark.parametrize("secret", [b"nonsense", b'{"data": {"ca.crt": "*"}}', b'{"data": {"ca.crt": 1}}'])
def test_what_is_no_secret_is_refused(secret: bytes) -> None:
    with pytest.raises(AuthoritySecretError, match="cannot be read"):
        content_of(secret)


class Secret:
    """As an API server keeps it; its steps are counted. What it says is followed at once, as a replica does."""

    def __init__(self, wanted: Authority, now: Trust) -> None:
        self.object: dict[str, Any] = {"metadata": {"resourceVersion": "1"}, "data": {}}
        self.trust = Latest(now)
        self.stored: Latest[Stored | None] = Latest(None)
        self.history: list[tuple[Authority, int, bool]] = []
        self.put(wanted)

    def put(self, wanted: Authority) -> None:
        """Somebody puts another pair in."""
        self.object["data"] |= {"ca.crt": _text(wanted.root_pem), "private.key": _text(wanted.key_pem)}
        self._follow()

    async def change(self, stored: Stored, change: Any) -> None:
        assert stored is self.stored.value
        self.object = _merged(self.object, change)
        self._follow()

    def _follow(self) -> None:
        version = int(self.object["metadata"]["resourceVersion"]) + 1
        self.object["metadata"]["resourceVersion"] = str(version)
        stored = Stored.of(content_of(json.dumps(self.object).encode()))
        self.stored.set(stored)
        self.trust.set(trust_of(stored.authorities, now=self.trust.value))
        now = self.trust.value
        self.history.append((now.signer, len(roots_of(now.roots_pem)), "previous.key" in self.object["data"]))


def _text(value: bytes) -> str:
    return b64encode(value).decode()


def _merged(one: Any, other: Any) -> Any:
    """RFC 7386."""
    if not isinstance(other, dict):
        return other
    merged = dict(one) if isinstance(one, dict) else {}
    for name, value in other.items():
        merged[name] = _merged(merged.get(name), value)
    return {name: value for name, value in merged.items() if value is not None}


class ProbeEvaluator:
    """A rotation whose steps may come at once, as soon as proxies' Secrets follow."""

    def __init__(self, *, outlived: float = -1.0) -> None:
        self.secret = Secret(A, trust(A))
        self.refreshed = True
        self.rotation = CaRotation(
            self.secret,  # type: ignore[arg-type]  # an API server's part is tested against a real one
            self.secret.trust,
            leads=Latest(True),  # noqa: FBT003
            refreshed=lambda: self.secret.trust.value.mark if self.refreshed else "",
            outlived=lambda: outlived,
            spread_within=0.0,
        )

    async def go_on(self, *, times: int = 1) -> None:
        for _ in range(times):
            await self.rotation._go_on()


async def test_a_root_is_trusted_before_it_signs_and_after_it_signed() -> None:
    evaluator = ProbeEvaluator()
    evaluator.secret.put(B)
    await evaluator.go_on(times=5)
    assert evaluator.secret.history == [
        (A, 1, False),
        (A, 2, False),
        (A, 2, True),
        (B, 2, False),
        (B, 1, False),
    ]
    assert set(evaluator.secret.object["data"]) == {"ca.crt", "private.key"}
    assert evaluator.secret.object["metadata"]["annotations"] == {}


async def test_it_does_not_sign_before_all_proxies_can_trust_it() -> None:
    evaluator = ProbeEvaluator()
    evaluator.refreshed = False
    evaluator.secret.put(B)
    await evaluator.go_on(times=5)
    assert evaluator.secret.trust.value == trust(A, B)
    evaluator.refreshed = True
    await evaluator.go_on()
    assert evaluator.secret.trust.value == trust(B, A)


async def test_the_old_root_is_trusted_as_long_as_what_it_signed_may_live() -> None:
    evaluator = ProbeEvaluator(outlived=3600.0)
    evaluator.secret.put(B)
    await evaluator.go_on(times=10)
    assert evaluator.secret.trust.value == trust(B, A)
    # Who takes the time away makes it begin anew.
    del evaluator.secret.object["metadata"]["annotations"][CA_SIGNS_SINCE]
    evaluator.secret.put(B)
    await evaluator.go_on(times=2)
    assert CA_SIGNS_SINCE in evaluator.secret.object["metadata"]["annotations"]
    assert evaluator.secret.trust.value == trust(B, A)


async def test_a_third_pair_in_the_middle_of_it_leaves_no_proxy_behind() -> None:
    evaluator = ProbeEvaluator(outlived=3600.0)
    evaluator.secret.put(B)
    await evaluator.go_on(times=2)
    assert evaluator.secret.trust.value == trust(B, A)
    evaluator.secret.put(C)
    await evaluator.go_on()
    assert evaluator.secret.trust.value == trust(B, A, C)
    await evaluator.go_on()
    assert evaluator.secret.trust.value == trust(C, A, B)


async def test_who_does_not_lead_does_nothing() -> None:
    secret = Secret(A, trust(A))
    rotation = CaRotation(
        secret,  # type: ignore[arg-type]  # as above
        secret.trust,
        leads=Latest(False),  # noqa: FBT003
        refreshed=lambda: "",
        outlived=lambda: 0.0,
    )
    async with background_tasks(run=rotation.run()):
        secret.put(B)
    assert len(secret.history) == 2
