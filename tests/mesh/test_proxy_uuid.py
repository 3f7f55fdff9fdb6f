import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osm_probes.mesh.identity import Identity
from osm_probes.mesh.labels import PROXY_UUID_PATTERN
from osm_probes.mesh.proxy_uuid import InvalidUuidKeyError, UuidKey, is_bound, random_uuid

KEY = UuidKey(bytes(range(32)))
SELLER = Identity("shop", "seller")
NAME = "envoy-bootstrap-config-x"


@given(namespace=st.text(max_size=20), account=st.text(max_size=20))
def test_a_uuid_is_a_version_8_uuid_of_the_identity_it_was_made_for(namespace: str, account: str) -> None:
    identity = Identity(namespace, account)
    proxy = KEY.new_uuid(identity)
    parsed = uuid.UUID(proxy)
    assert (parsed.version, parsed.variant, str(parsed)) == (8, uuid.RFC_4122, proxy)
    assert PROXY_UUID_PATTERN.match(proxy)
    assert is_bound(proxy)
    assert KEY.made(proxy, identity=identity)


@pytest.mark.parametrize(
    "other", [Identity("shop", "buyer"), Identity("other", "seller"), Identity("shops", "eller"), Identity("", "")]
)
def test_a_uuid_of_another_identity_is_not_accepted(other: Identity) -> None:
    assert not KEY.made(KEY.new_uuid(SELLER), identity=other)


def test_a_uuid_of_another_key_is_not_accepted() -> None:
    assert not KEY.made(UuidKey.create().new_uuid(SELLER), identity=SELLER)


@given(bit=st.integers(0, 127))
def test_a_uuid_with_one_changed_bit_is_not_accepted(bit: int) -> None:
    changed = str(uuid.UUID(int=uuid.UUID(KEY.new_uuid(SELLER)).int ^ 1 << bit))
    assert not KEY.made(changed, identity=SELLER)


@pytest.mark.parametrize(
    "text",
    ["", "x", "canary", f"{uuid.UUID(int=0)}.canary.x", KEY.new_uuid(SELLER).upper(), f"{KEY.new_uuid(SELLER)}\n"],
)
def test_a_text_that_is_no_well_formed_uuid_is_not_accepted(text: str) -> None:
    assert not is_bound(text)
    assert not KEY.made(text, identity=SELLER)


def test_uuids_are_different() -> None:
    assert len({KEY.new_uuid(SELLER) for _ in range(1000)}) == 1000


def test_a_random_uuid_is_bound_to_nothing() -> None:
    proxy = random_uuid(SELLER)
    assert uuid.UUID(proxy).version == 4
    assert not is_bound(proxy)
    assert not KEY.made(proxy, identity=SELLER)


def test_the_proof_of_a_secret_holds_for_its_name_and_identity_only() -> None:
    mac = KEY.secret_mac(NAME, identity=SELLER)
    assert KEY.made_secret(mac, name=NAME, identity=SELLER)
    assert not KEY.made_secret(mac, name=f"{NAME}y", identity=SELLER)
    assert not KEY.made_secret(mac, name=NAME, identity=Identity("shop", "buyer"))
    assert not UuidKey.create().made_secret(mac, name=NAME, identity=SELLER)
    assert not KEY.made_secret("", name=NAME, identity=SELLER)
    assert not KEY.made_secret("é", name=NAME, identity=SELLER)


@pytest.mark.parametrize("key", [b"", b"short", bytes(33)])
def test_a_key_of_another_length_is_an_error(key: bytes) -> None:
    with pytest.raises(InvalidUuidKeyError, match=f"{len(key)} bytes instead of 32"):
        UuidKey(key)


def test_the_key_is_not_in_its_text() -> None:
    assert repr(KEY) == "UuidKey()"
