import uuid
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from osm_probes.admission.pod import bootstrap_secret_name
from osm_probes.cluster.bootstrap_metadata import BootstrapSecret, bootstrap_secrets_in, decode_bootstrap_secret
from osm_probes.cluster.bootstrap_secrets import CredentialIssuer, UnissuableNameError
from osm_probes.cluster.certificate_rules import NoCertificateError, certificate_identity
from osm_probes.cluster.refusal_log import RefusalLog
from osm_probes.foundation.latest import Latest
from osm_probes.kube.errors import KubernetesError
from osm_probes.mesh.identity import SIDECAR, Identity, ProxyName
from osm_probes.mesh.proxy_uuid import UuidKey
from osm_probes.pki.authority import Authority
from osm_probes.pki.trust import Trust
from tests.kubernetes.bootstraps import KEY, LEGACY_UUID, TRUST, pod, secret, seller
from tests.log_capture import capture_logs

UUID = KEY.new_uuid(seller("shop"))
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
WEEK = timedelta(days=7)


def decoded(**metadata: object) -> BootstrapSecret | None:
    """The metadata of a Secret for UUID, as the API server sends it, with these differences."""
    document = secret("shop", UUID)
    document["metadata"] |= {"uid": "a", "resourceVersion": "1", **metadata}
    return decode_bootstrap_secret(msgspec.json.encode(document))


def bootstrap(proxy: str = UUID, *, mac: str | None = None, expires: datetime | None = None) -> BootstrapSecret:
    """A bootstrap Secret, with the injector's proof unless another one is given."""
    name = bootstrap_secret_name(proxy)
    proof = KEY.secret_mac(name, identity=seller("shop")) if mac is None else mac
    return BootstrapSecret("shop", name, "a", "1", proxy, owned=False, trust="t", expires=expires, mac=proof)


def refusal(found: BootstrapSecret, *pods: object, key: UuidKey | None = KEY) -> str:
    """Why no certificate is issued; "" if one is."""
    try:
        certificate_identity(found, pods, key=key)  # type: ignore[arg-type]  # made by `pod`
    except NoCertificateError as error:
        return str(error)
    return ""


def test_a_pod_with_its_own_uuid_and_a_secret_of_the_injector_gets_its_identity() -> None:
    assert certificate_identity(bootstrap(), [pod("shop", "a")], key=KEY) == seller("shop")


def test_a_copy_of_the_label_on_another_service_accounts_pod_does_not_change_the_identity() -> None:
    copies = [pod("shop", "b", account="admin"), pod("shop", "a"), pod("shop", "c", account="other")]
    assert certificate_identity(bootstrap(), copies, key=KEY) == seller("shop")


@pytest.mark.parametrize(
    ("found", "pods", "key", "reason"),
    [
        (bootstrap(), [pod("shop", "a", account="admin")], KEY, "was not made for the service account of its pod"),
        (bootstrap(), [pod("bank", "a")], KEY, "was not made for the service account of its pod"),
        (bootstrap(), [], KEY, "was not made for the service account of its pod"),
        (bootstrap(), [pod("shop", "a")], UuidKey.create(), "was not made for the service account of its pod"),
        (bootstrap(), [pod("shop", "a")], None, "the key of the proxies' uuids is missing"),
        (bootstrap(mac=""), [pod("shop", "a")], KEY, "the injector did not make this Secret"),
        (bootstrap(mac="0" * 64), [pod("shop", "a")], KEY, "the injector did not make this Secret"),
        (bootstrap(str(uuid.UUID(int=1))), [pod("shop", "a")], KEY, "no injector gives the uuid"),
        (bootstrap(str(uuid.uuid1())), [pod("shop", "a")], KEY, "no injector gives the uuid"),
        (bootstrap(LEGACY_UUID), [pod("shop", "a"), pod("shop", "b")], KEY, "2 pods have the uuid"),
        (bootstrap(LEGACY_UUID), [], KEY, "0 pods have the uuid"),
    ],
)
def test_any_other_secret_is_refused(
    found: BootstrapSecret, pods: list[object], key: UuidKey | None, reason: str
) -> None:
    assert reason in refusal(found, *pods, key=key)


@pytest.mark.parametrize("key", [KEY, None])
def test_the_only_pod_with_the_uuid_of_an_earlier_version_gets_its_identity(key: UuidKey | None) -> None:
    found = bootstrap(LEGACY_UUID, mac="")
    assert certificate_identity(found, [pod("shop", "a", account="admin")], key=key) == Identity("shop", "admin")


@pytest.mark.parametrize(
    "label", ["", "x", f"{UUID}.canary.x", f"{UUID}.sidecar.seller", UUID.upper(), "../../secrets", f"{UUID}\n"]
)
def test_a_label_that_is_no_uuid_is_no_bootstrap_secret(label: str) -> None:
    assert decoded(name=bootstrap_secret_name(label), labels={"osm-proxy-uuid": label}) is None


def test_a_secret_with_another_name_or_one_that_is_being_deleted_is_no_bootstrap_secret() -> None:
    assert decoded() is not None
    assert decoded(name="application") is None
    assert decoded(deletionTimestamp="2026-11-29T12:00:00Z") is None
    with pytest.raises(KubernetesError, match="cannot be decoded"):
        decode_bootstrap_secret(b"{}")


def test_only_secrets_with_the_injectors_labels_and_type_are_read() -> None:
    query = bootstrap_secrets_in("shop").query
    assert query == {
        "labelSelector": "osm-proxy-uuid,app.kubernetes.io/managed-by=osm-injector",
        "fieldSelector": "type=Opaque",
    }


@pytest.mark.parametrize(
    ("expires", "is_current"),
    [
        ("", False),
        ("soon", False),
        ("2026-12-06T12:00:00", False),  # without a zone
        ("2026-12-06T12:00:00Z", True),
        ("2026-12-06T12:59:00Z", True),  # issued by a replica whose clock is ahead
        ("2026-12-03T00:00:01Z", True),
        ("2026-12-03T00:00:00Z", False),  # half of its validity has passed
        ("2026-11-01T00:00:00Z", False),
        ("2026-12-06T13:00:01Z", False),  # longer than any certificate is valid
        ("9999-12-31T23:59:59-23:59", False),
        ("0001-01-01T00:00:00+23:59", False),
    ],
)
def test_a_certificate_is_renewed_after_half_of_its_validity_or_if_its_expiry_is_not_credible(
    expires: str, *, is_current: bool
) -> None:
    found = decoded(annotations={"openservicemesh.io/trust": "t", "openservicemesh.io/certificate-expires": expires})
    assert found is not None
    assert found.is_current("t", validity=WEEK, now=NOW) is is_current
    assert not found.is_current("other", validity=WEEK, now=NOW)


@pytest.mark.parametrize(
    "account",
    ["", "a b", 'a"b', "a/b", "a\nb", "A", "x" * 3000 + "_", f"{UUID}.sidecar.x", "osm-controller.osm-system"],
)
def test_no_certificate_is_issued_for_a_name_that_could_be_mistaken(account: str) -> None:
    issuer = CredentialIssuer(Latest(TRUST), trust_domain="cluster.local", osm_namespace="osm-system")
    with pytest.raises(UnissuableNameError) as error:
        issuer.secret_patch(ProxyName(UUID, SIDECAR, Identity("shop", account)))
    assert len(str(error.value)) < 300


def test_a_certificate_and_its_annotation_expire_with_the_root_at_the_latest() -> None:
    def long_ago() -> datetime:
        return datetime.now(UTC) - timedelta(days=3650) + timedelta(days=2)

    trust = Trust.of(Authority.create("old", now=long_ago))
    issuer = CredentialIssuer(Latest(trust), trust_domain="cluster.local", osm_namespace="osm-system")
    patch = issuer.secret_patch(ProxyName(UUID, SIDECAR, seller("shop")))
    expires = datetime.fromisoformat(patch["metadata"]["annotations"]["openservicemesh.io/certificate-expires"])
    assert expires == trust.signer.not_after


def test_refusals_are_logged_once_each_and_never_more_than_a_few_in_ten_minutes() -> None:
    time = [0.0]
    log = RefusalLog(clock=lambda: time[0])
    many = [bootstrap(str(uuid.UUID(int=number))) for number in range(1000)]
    with capture_logs() as lines:
        for _ in range(3):
            log.add(many[0], "a reason")
        assert len(lines) == 1
        for found in many:
            log.add(found, "a reason")
        log.keep_only([])
        for found in many:
            log.add(found, "a reason")
        assert len(lines) == 21
        time[0] = 600.0
        log.add(many[0], "another reason")
        assert len(lines) == 22
