import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC
from google.protobuf.json_format import MessageToDict

from osm_probes.mesh.identity import SIDECAR, ProxyName
from osm_probes.mesh.policy import Permission, RequestMatch
from osm_probes.mesh.settings import Settings
from osm_probes.sources.regex import compile_regex
from osm_probes.xds.bootstrap import AdsTarget, build_bootstrap
from osm_probes.xds.build import SnapshotBuilder
from osm_probes.xds.rbac import DOT_SEGMENTS, RBAC_FILTER, rbac_per_route
from tests.builders import identity, mesh, secrets, service
from tests.sources.regexes import REJECTED_BY_ENVOY, VALID_REGEXES, generated_regexes
from tests.xds.envoy_checks import validation_error, with_resources

STORE, BUYER, THIEF = identity("bookstore"), identity("bookbuyer"), identity("bookthief")
NO_DOT_SEGMENTS: Any = {"not_rule": {"url_path": {"path": {"safe_regex": {"regex": DOT_SEGMENTS}}}}}


def header(name: str, **value: Any) -> dict[str, Any]:
    return {"header": {"name": name, "string_match": value}}


def regex(pattern: str) -> dict[str, Any]:
    return {"safe_regex": {"regex": pattern}}


def policies(*permissions: Permission) -> Any:
    made = rbac_per_route(permissions, trust_domain="cluster.local")
    return MessageToDict(made, preserving_proto_field_name=True)["rbac"]["rules"].get("policies", {})


@pytest.mark.parametrize(
    ("requests", "conditions"),
    [
        (RequestMatch(), None),
        (RequestMatch(".*"), None),
        (RequestMatch("/a"), [{"url_path": {"path": regex("/a")}}, NO_DOT_SEGMENTS]),
        (RequestMatch(methods=("GET",)), [{"or_rules": {"rules": [header(":method", exact="GET")]}}]),
        (
            RequestMatch(methods=("GET", "POST"), headers=((":authority", "a"), ("x", "[0-9]+"))),
            [
                {"or_rules": {"rules": [header(":method", exact="GET"), header(":method", exact="POST")]}},
                header(":authority", **regex("a")),
                header("x", **regex("[0-9]+")),
            ],
        ),
    ],
)
def test_all_parts_of_a_match_must_hold(requests: RequestMatch, conditions: list[Any] | None) -> None:
    found = policies(Permission("a/b", STORE, (BUYER,), (requests,)))
    expected = {"any": True} if conditions is None else {"and_rules": {"rules": conditions}}
    assert found["a/b"]["permissions"] == [expected]


def test_the_filter_of_a_listener_denies_all_requests() -> None:
    listener_rbac = RBAC.FromString(RBAC_FILTER.typed_config.value)
    assert listener_rbac.HasField("rules")
    assert listener_rbac.rules.action == listener_rbac.rules.ALLOW
    assert not listener_rbac.rules.policies


def test_overlapping_permissions_add_up() -> None:
    found = policies(
        Permission("a/1", STORE, (BUYER,), (RequestMatch("/a.*"),)),
        Permission("a/2", STORE, (BUYER, THIEF), (RequestMatch(), RequestMatch("/b"))),
    )
    assert found.keys() == {"a/1", "a/2"}
    names = [principal["authenticated"]["principal_name"]["exact"] for principal in found["a/2"]["principals"]]
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
def test_a_path_with_dot_segments_matches_no_pattern(path: str, *, dots: bool) -> None:
    assert bool(re.fullmatch(DOT_SEGMENTS, path)) is dots


def bookstore_error(envoy: Path, folder: Path, *patterns: str) -> str:
    """The error with which Envoy rejects a bookstore whose permission has these patterns, "" if it accepts it."""
    requests = tuple(RequestMatch(pattern, headers=(("x", pattern),)) for pattern in patterns)
    permissions = (Permission("a/b", STORE, (BUYER,), requests),)
    environment = replace(mesh(service()), settings=Settings(permissive=False), permissions=permissions)
    material = secrets()
    proxy = ProxyName("00000000-0000-0000-0000-000000000001", SIDECAR, STORE)
    ads = AdsTarget("127.0.0.1", 15128, "osm-controller")
    start = build_bootstrap(proxy, trust_domain="cluster.local", ads=ads, secrets=material)
    snapshot = SnapshotBuilder("cluster.local").build(environment, STORE, secrets=material)
    return validation_error(envoy, with_resources(start, snapshot), folder=folder)


@pytest.mark.envoy
def test_envoy_accepts_every_expression_that_a_manifest_may_have(envoy: Path, tmp_path: Path) -> None:
    assert bookstore_error(envoy, tmp_path, *VALID_REGEXES) == ""


@pytest.mark.envoy
@pytest.mark.parametrize("text", REJECTED_BY_ENVOY)
def test_envoy_rejects_an_expression_that_has_a_problem(envoy: Path, tmp_path: Path, text: str) -> None:
    assert "error initializing configuration" in bookstore_error(envoy, tmp_path, text)


@pytest.mark.envoy
def test_envoy_accepts_each_generated_expression_without_a_problem(envoy: Path, tmp_path: Path) -> None:
    accepted = [text for text in generated_regexes(6000, seed=14) if text and not compile_regex(text).problem]
    assert len(accepted) > 1000
    assert bookstore_error(envoy, tmp_path, *accepted) == ""
