import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from osm_probes.mesh.identity import SIDECAR, CanaryName, Identity, ProxyName, UnknownIdentityError

_UUID = "6f2f2c3e-0d4b-4b3c-9d8f-0a1b2c3d4e5f"
_label = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)


@given(
    uuid=st.uuids(),
    namespace=_label,
    account=st.lists(_label, min_size=1, max_size=3).map(".".join),
    domain=st.lists(_label, min_size=1, max_size=3).map(".".join),
)
def test_a_parsed_common_name_is_the_proxy_that_it_was_made_for(
    uuid: object, namespace: str, account: str, domain: str
) -> None:
    name = ProxyName(str(uuid), SIDECAR, Identity(namespace, account))
    assert ProxyName.parse(name.common_name(domain), trust_domain=domain) == name


@pytest.mark.parametrize(
    "common_name",
    [
        "",
        "cluster.local",
        f"{_UUID}.sidecar.bookstore.bookstore.other.domain",
        f"{_UUID}.canary.bookstore.bookstore.cluster.local",
        CanaryName.common_name("cluster.local"),
        f"{_UUID}.gateway.bookstore.bookstore.cluster.local",
        f"{_UUID}.sidecar.bookstore.cluster.local",
        "not-a-uuid.sidecar.bookstore.bookstore.cluster.local",
        f"{_UUID}.sidecar..bookstore.cluster.local",
        f"{_UUID}.sidecar.Book.bookstore.cluster.local",
        f"{_UUID}.sidecar.bookstore.bookstore.cluster.local\n",
        f"{_UUID}.sidecar.book\n.bookstore.cluster.local",
    ],
)
def test_any_other_name_is_an_error(common_name: str) -> None:
    with pytest.raises(UnknownIdentityError):
        ProxyName.parse(common_name, trust_domain="cluster.local")


@given(
    account=st.lists(
        _label | st.just(_UUID) | st.sampled_from(["sidecar", "canary", "osm-controller"]), min_size=1
    ).map(".".join),
    namespace=_label | st.sampled_from(["svc", "osm-system", "cluster"]),
    domain=st.sampled_from(["cluster.local", "local", "osm-system.svc.cluster.local", "example.org"]),
)
@example(f"{_UUID}.sidecar.foo", "shop", "cluster.local")
@example("osm-controller.osm-system", "svc", "cluster.local")
@example("osm-controller.osm-system.svc", "cluster", "local")
def test_an_unambiguous_principal_is_not_the_name_of_a_proxy_or_controller(
    account: str, namespace: str, domain: str
) -> None:
    identity = Identity(namespace, account)
    principal = identity.principal(domain)
    try:
        ProxyName.parse(principal, trust_domain=domain)
        taken = True
    except UnknownIdentityError:
        taken = bool(re.fullmatch(r"osm-controller\.[^.]+\.svc\.cluster\.local", principal))
    assert identity.ambiguous or not taken


@pytest.mark.parametrize("account", ["osm-controller", _UUID, "a.osm-controller", f"a.{_UUID}.canary", "a.canary.b"])
def test_other_service_accounts_are_not_ambiguous(account: str) -> None:
    assert not Identity("shop", account).ambiguous


@given(account=st.lists(_label, min_size=1, max_size=3).map(".".join), namespace=_label, domain=_label, uuid=st.uuids())
def test_no_workload_and_no_sidecar_can_have_the_canarys_name(
    account: str, namespace: str, domain: str, uuid: object
) -> None:
    identity = Identity(namespace, account)
    for trust_domain in (domain, f"{namespace}.{domain}"):
        canary = CanaryName.common_name(trust_domain)
        assert canary not in {
            identity.principal(domain),
            ProxyName(str(uuid), SIDECAR, identity).common_name(domain),
        }
