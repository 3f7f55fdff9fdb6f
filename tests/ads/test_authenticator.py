import pytest

from osm_probes.ads.authenticator import Authenticator
from osm_probes.ads.errors import NotAdmittedError
from osm_probes.mesh.identity import CANARY, Identity, ProxyName
from tests.ads.dial import AUTHORITY, DAY, TRUST_DOMAIN, certificate_of, proxy_name, refuses_strangers

GATE = Authenticator(TRUST_DOMAIN, refuses_strangers)
STRANGER = Identity("bookstore", "stranger")


def context(pem: bytes) -> dict[str, list[bytes]]:
    return {"x509_pem_cert": [pem]}


@pytest.mark.parametrize("name", [proxy_name(), proxy_name(CANARY), proxy_name(identity=Identity("n", "a" * 60))])
def test_a_peer_is_who_its_certificate_says(name: ProxyName) -> None:
    assert GATE.identify(context(certificate_of(name).chain_pem)) == name


@pytest.mark.parametrize(
    ("auth_context", "reason"),
    [
        ({}, "a client certificate is required"),
        (context(b"no"), "cannot be read"),
        (context(AUTHORITY.issue("bookstore.bookstore.cluster.local", validity=DAY).chain_pem), "names no proxy"),
        (context(AUTHORITY.issue(proxy_name().common_name("other.domain"), validity=DAY).chain_pem), "names no proxy"),
    ],
)
def test_who_shows_no_proxy_certificate_is_refused(auth_context: dict[str, list[bytes]], reason: str) -> None:
    with pytest.raises(NotAdmittedError, match=reason):
        GATE.identify(auth_context)


def test_a_node_id_may_be_anything_but_another_proxys_name() -> None:
    proxy = proxy_name()
    for node in ("", "envoy-1", proxy.common_name(TRUST_DOMAIN)):
        GATE.check_node(node, proxy=proxy)
    with pytest.raises(NotAdmittedError, match="another proxy"):
        GATE.check_node(proxy_name().common_name(TRUST_DOMAIN), proxy=proxy)


def test_the_mesh_admits_proxies_and_never_asks_for_the_canary() -> None:
    GATE.admit(proxy_name())
    GATE.admit(proxy_name(CANARY, STRANGER))
    with pytest.raises(NotAdmittedError, match="no pod"):
        GATE.admit(proxy_name(identity=STRANGER))
