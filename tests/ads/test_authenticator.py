import pytest

from osm_probes.ads.authenticator import Authenticator
from osm_probes.ads.canary_certificates import CanaryCertificates
from osm_probes.ads.errors import NotAdmittedError
from osm_probes.mesh.identity import CANARY_PROXY, CanaryName, Identity, ProxyName
from tests.ads.client import AUTHORITY, CANARY_CERTIFICATE, DAY, TRUST_DOMAIN, certificate_of, proxy_name
from tests.ads.running_ads import is_canary, refuse_strangers

AUTHENTICATOR = Authenticator(TRUST_DOMAIN, refuse_strangers, is_canary)
UUID = proxy_name().uuid
STRANGER = Identity("bookstore", "stranger")


def context(pem: bytes) -> dict[str, list[bytes]]:
    return {"x509_pem_cert": [pem]}


@pytest.mark.parametrize("name", [proxy_name(), proxy_name(identity=Identity("n", "a" * 60))])
def test_the_certificate_identifies_the_proxy(name: ProxyName) -> None:
    assert AUTHENTICATOR.identify(context(certificate_of(name).chain_pem)) == name


@pytest.mark.parametrize(
    ("auth_context", "reason"),
    [
        ({}, "a client certificate is required"),
        (context(b"no"), "cannot be read"),
        (context(AUTHORITY.issue("bookstore.bookstore.cluster.local", validity=DAY).chain_pem), "names no proxy"),
        (context(AUTHORITY.issue(proxy_name().common_name("other.domain"), validity=DAY).chain_pem), "names no proxy"),
    ],
)
def test_a_peer_without_a_proxy_certificate_is_refused(auth_context: dict[str, list[bytes]], reason: str) -> None:
    with pytest.raises(NotAdmittedError, match=reason):
        AUTHENTICATOR.identify(auth_context)


def test_a_node_id_may_be_any_text_except_the_name_of_another_proxy() -> None:
    proxy = proxy_name()
    for node_id in ("", "envoy-1", proxy.common_name(TRUST_DOMAIN)):
        AUTHENTICATOR.check_node_id(node_id, proxy=proxy)
    with pytest.raises(NotAdmittedError, match="another proxy"):
        AUTHENTICATOR.check_node_id(proxy_name().common_name(TRUST_DOMAIN), proxy=proxy)


def test_only_proxies_of_the_mesh_and_the_canary_are_admitted() -> None:
    AUTHENTICATOR.admit(proxy_name())
    AUTHENTICATOR.admit(AUTHENTICATOR.identify(context(CANARY_CERTIFICATE.chain_pem)))
    with pytest.raises(NotAdmittedError, match="no pod"):
        AUTHENTICATOR.admit(proxy_name(identity=STRANGER))


@pytest.mark.parametrize(
    "name",
    [
        # What a user's pod label and service account could make of a certificate's name before they were checked.
        f"{UUID}.canary.x.sidecar.default.shop.{TRUST_DOMAIN}",
        f"{UUID}.canary.default.shop.{TRUST_DOMAIN}",
        # Even the canary's own name is not enough: it is not the certificate of this process.
        CanaryName.common_name(TRUST_DOMAIN),
    ],
)
def test_no_certificate_is_the_canarys_because_of_its_name(name: str) -> None:
    pem = AUTHORITY.issue(name, validity=DAY).chain_pem
    with pytest.raises(NotAdmittedError, match="names no proxy"):
        AUTHENTICATOR.identify(context(pem))


def test_the_newest_canary_certificate_and_the_one_before_it_are_the_canarys() -> None:
    certificates = CanaryCertificates()
    authenticator = Authenticator(TRUST_DOMAIN, refuse_strangers, certificates.has)
    first, second, third = (AUTHORITY.issue(CanaryName.common_name(TRUST_DOMAIN), validity=DAY) for _ in range(3))
    for certificate in (first, first, second, second, third):
        certificates.give(certificate)
    for certificate in (second, third):
        assert authenticator.identify(context(certificate.chain_pem)) == CANARY_PROXY
    with pytest.raises(NotAdmittedError, match="names no proxy"):
        authenticator.identify(context(first.chain_pem))
