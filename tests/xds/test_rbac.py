import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC
from google.protobuf.json_format import MessageToDict

from osm_probes.mesh.identity import SIDECAR, ProxyName
from osm_probes.mesh.policy import Permission, Requests
from osm_probes.mesh.settings import Settings
from osm_probes.xds import rbac
from osm_probes.xds.bootstrap import AdsTarget, bootstrap
from osm_probes.xds.build import SnapshotBuilder
from osm_probes.xds.rbac import RBAC_FILTER, route_rules
from tests.builders import identity, mesh, secrets, service
from tests.sources.test_regex import TAKEN
from tests.xds.envoy_checks import complaint, with_resources

STORE, BUYER, THIEF = identity("bookstore"), identity("bookbuyer"), identity("bookthief")
WRITTEN: Any = {"not_rule": {"url_path": {"path": {"safe_regex": {"regex": rbac._DOTS}}}}}


def header(name: str, **value: Any) -> dict[str, Any]:
    return {"header": {"name": name, "string_match": value}}


def regex(pattern: str) -> dict[str, Any]:
    return {"safe_regex": {"regex": pattern}}


def policies(*permissions: Permission) -> Any:
    made = route_rules(permissions, trust_domain="cluster.local")
    return MessageToDict(made, preserving_proto_field_name=True)["rbac"]["rules"].get("policies", {})


@pytest.mark.parametrize(
    ("requests", "conditions"),
    [
        (Requests(), None),
        (Requests(".*"), None),
        (Requests("/a"), [{"url_path": {"path": regex("/a")}}, WRITTEN]),
        (Requests(methods=("GET",)), [{"or_rules": {"rules": [header(":method", exact="GET")]}}]),
        (
            Requests(methods=("GET", "POST"), headers=((":authority", "a"), ("x", "[0-9]+"))),
            [
                {"or_rules": {"rules": [header(":method", exact="GET"), header(":method", exact="POST")]}},
                header(":authority", **regex("a")),
                header("x", **regex("[0-9]+")),
            ],
        ),
    ],
)
def test_all_that_requests_have_in_common_must_hold(requests: Requests, conditions: list[Any] | None) -> None:
    found = policies(Permission("a/b", STORE, (BUYER,), (requests,)))
    expected = {"any": True} if conditions is None else {"and_rules": {"rules": conditions}}
    assert found["a/b"]["permissions"] == [expected]


def test_the_filter_of_a_listener_lets_nothing_through_by_itself() -> None:
    own = RBAC.FromString(RBAC_FILTER.typed_config.value)
    assert own.HasField("rules")
    assert own.rules.action == own.rules.ALLOW
    assert not own.rules.policies


def test_overlapping_permissions_are_all_asked() -> None:
    found = policies(
        Permission("a/1", STORE, (BUYER,), (Requests("/a.*"),)),
        Permission("a/2", STORE, (BUYER, THIEF), (Requests(), Requests("/b"))),
    )
    assert found.keys() == {"a/1", "a/2"}
    names = [each["authenticated"]["principal_name"]["exact"] for each in found["a/2"]["principals"]]
    assert names == ["bookbuyer.bookbuyer.cluster.local", "bookthief.bookthief.cluster.local"]
    assert len(found["a/2"]["permissions"]) == 2


@pytest.mark.parametrize(
    ("path", "dots"),
    [
        ("/books/../admin", True),
        ("/books/..", True),
        ("/books/./1", True),
        ("/..;/admin", True),
        ("/books/%2e%2E/admin", True),
        ("/books/.%2e/admin", True),
        ("/books%2f..%2fadmin", True),
        ("/books\\..\\admin", True),
        ("/books%5c..%5Cadmin", True),
        ("/", False),
        ("/books", False),
        ("/books/v1.2/a..b", False),
        ("/.well-known/x", False),
        ("/books/...", False),
    ],
)
def test_a_path_with_dots_for_segments_matches_no_pattern(path: str, *, dots: bool) -> None:
    assert bool(re.fullmatch(rbac._DOTS, path)) is dots


def judged(envoy: Path, folder: Path, *patterns: str) -> str:
    """What Envoy says against the bookstore's configuration with such requests permitted, "" if nothing."""
    requests = tuple(Requests(each, headers=(("x", each),)) for each in patterns)
    permissions = (Permission("a/b", STORE, (BUYER,), requests),)
    environment = replace(mesh(service()), settings=Settings(permissive=False), permissions=permissions)
    own = secrets()
    proxy = ProxyName("00000000-0000-0000-0000-000000000001", SIDECAR, STORE)
    ads = AdsTarget("127.0.0.1", 15128, "osm-controller")
    start = bootstrap(proxy, trust_domain="cluster.local", ads=ads, secrets=own)
    snapshot = SnapshotBuilder("cluster.local").build(environment, STORE, secrets=own)
    return complaint(envoy, with_resources(start, snapshot), folder=folder)


@pytest.mark.envoy
def test_envoy_takes_every_expression_that_a_manifest_may_have(envoy: Path, tmp_path: Path) -> None:
    assert judged(envoy, tmp_path, *TAKEN) == ""


@pytest.mark.envoy
def test_envoy_refuses_an_expression_that_is_not_its_own(envoy: Path, tmp_path: Path) -> None:
    assert "invalid perl operator" in judged(envoy, tmp_path, "(?=a)")
