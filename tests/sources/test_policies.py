import json
import random
from pathlib import Path
from typing import Any

import pytest

from osm_probes.mesh.identity import Identity
from osm_probes.mesh.mesh import Mesh
from osm_probes.mesh.policy import Permission, RequestMatch, Split
from osm_probes.sources.manifests import read_objects
from osm_probes.sources.translate import mesh_from_objects
from tests.sources.manifests import account, namespace, route_group, rule, split, target, tcp_route
from tests.sources.regexes import REJECTED_BY_ENVOY

SELLER, BUYER = Identity("shop", "seller"), Identity("buyer", "buyer")
HTTP, TCP = rule("HTTPRouteGroup"), rule("TCPRoute")
BOOKS = {"name": "books", "pathRegex": "/books", "methods": ["GET"]}
EVERYTHING = {"name": "everything"}
GET_BOOKS, ANY = RequestMatch("/books", ("GET",)), RequestMatch()


def mesh_of(*documents: str, of: str = "osm") -> Mesh:
    texts = (namespace(mesh=of), *documents)
    return mesh_from_objects(
        [found for text in texts for found in read_objects(Path("x.yaml"), text.encode())], mesh_name="osm"
    )


def reasons(*documents: str) -> list[str]:
    return sorted(f"{ignored.policy}: {ignored.reason}" for ignored in mesh_of(*documents).ignored_policies)


def permitted(**rest: Any) -> tuple[Permission, ...]:
    return (Permission("shop/target", destination=SELLER, sources=(BUYER,), **rest),)


@pytest.mark.parametrize("text", REJECTED_BY_ENVOY)
def test_a_match_with_an_expression_that_envoy_would_reject_permits_nothing_and_is_reported(text: str) -> None:
    bad_path, bad_header = {"name": "p", "pathRegex": text}, {"name": "h", "headers": {"x": text}}
    documents = target(HTTP), route_group(bad_path, BOOKS, bad_header)
    assert mesh_of(*documents).permissions == permitted(requests=(GET_BOOKS,))
    of_header, of_path = reasons(*documents)
    assert of_header.startswith("HTTPRouteGroup shop/routes: the match 'h' permits nothing: headers.x: ")
    assert of_path.startswith("HTTPRouteGroup shop/routes: the match 'p' permits nothing: pathRegex: ")


def test_a_target_whose_only_match_is_invalid_permits_nothing() -> None:
    documents = target(rule("HTTPRouteGroup", "routes", "p")), route_group({"name": "p", "pathRegex": "("}, BOOKS)
    assert mesh_of(*documents).permissions == ()
    assert "TrafficTarget shop/target: its rules permit nothing" in reasons(*documents)


def test_expressions_that_are_too_large_together_permit_nothing() -> None:
    large = [{"name": str(number), "pathRegex": "(?s)[^a]{999}/" + str(number)} for number in range(200)]
    (permission,) = mesh_of(target(HTTP), route_group(*large)).permissions
    assert 2 <= len(permission.requests) < 50
    found = reasons(target(HTTP), route_group(*large))
    assert len(found) == 21
    assert found[0].endswith("more matches permit nothing")
    assert found[1].endswith("permits nothing: the expressions of the group are too large together")


@pytest.mark.parametrize(
    ("documents", "permissions"),
    [
        pytest.param(
            (target(HTTP), route_group(BOOKS, EVERYTHING)),
            permitted(requests=(ANY, GET_BOOKS)),
            id="a rule without matches permits the whole route group",
        ),
        pytest.param(
            (target(rule("HTTPRouteGroup", "routes", "books")), route_group(BOOKS, EVERYTHING)),
            permitted(requests=(GET_BOOKS,)),
            id="a rule with matches permits only those",
        ),
        pytest.param(
            (target(TCP), tcp_route()), permitted(connections=True), id="a TCP route without ports permits all"
        ),
        pytest.param(
            (target(TCP), tcp_route(3306, 80, 80)),
            permitted(connections=True, ports=(80, 3306)),
            id="a TCP route with ports permits only those",
        ),
        pytest.param(
            (target(TCP, rule("TCPRoute", "all")), tcp_route(80), tcp_route(name="all")),
            permitted(connections=True),
            id="a TCP route for all ports makes the others redundant",
        ),
        pytest.param(
            (target(TCP, HTTP), tcp_route(80), route_group(BOOKS)),
            permitted(requests=(GET_BOOKS,), connections=True, ports=(80,)),
            id="a TCP route limits the HTTP rules of its target",
        ),
        pytest.param(
            (target(TCP, HTTP), route_group(BOOKS)), (), id="without any existing TCP route nothing is permitted"
        ),
        pytest.param((target(HTTP),), (), id="a group that does not exist permits nothing"),
        pytest.param(
            (target(HTTP, rule("HTTPRouteGroup", "none")), route_group(BOOKS)),
            permitted(requests=(GET_BOOKS,)),
            id="the other rules stay",
        ),
        pytest.param((target(HTTP), route_group()), (), id="an empty group permits nothing"),
        pytest.param((target(), route_group(BOOKS), tcp_route()), (), id="no rules permit nothing"),
    ],
)
def test_a_target_permits_what_its_rules_name(documents: tuple[str, ...], permissions: tuple[Permission, ...]) -> None:
    assert mesh_of(*documents).permissions == permissions


@pytest.mark.parametrize(
    ("match", "requests"),
    [
        ({"name": "a", "methods": ["POST", "GET", "GET"]}, RequestMatch(methods=("GET", "POST"))),
        ({"name": "a", "methods": ["GET", "*"]}, RequestMatch()),
        (
            {"name": "a", "headers": {"X-B": "2", "x-a": "1"}},
            RequestMatch(headers=(("x-a", "1"), ("x-b", "2"))),
        ),
        ({"name": "a", "headers": [{"x-b": "2"}, {"x-a": "1"}]}, RequestMatch(headers=(("x-a", "1"), ("x-b", "2")))),
        ({"name": "a", "headers": {"x-a": ""}}, RequestMatch(headers=(("x-a", "^$"),))),
        ({"name": "a", "headers": {"Host": "shop"}}, RequestMatch(headers=((":authority", "shop"),))),
    ],
)
def test_a_match_is_a_condition_on_requests(match: dict[str, Any], requests: RequestMatch) -> None:
    (permission,) = mesh_of(target(HTTP), route_group(match)).permissions
    assert permission.requests == (requests,)


def test_sources_are_sorted_and_by_default_in_the_policys_own_namespace() -> None:
    sources = [account("c"), {"kind": "ServiceAccount", "name": "b"}, account("c"), account("a", namespace="z")]
    (permission,) = mesh_of(target(TCP, sources=sources), tcp_route()).permissions
    assert permission.sources == (Identity("shop", "b"), Identity("shop", "c"), Identity("z", "a"))


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (target(TCP, destination=account("seller", namespace="other")), "spec.destination.namespace: it must be"),
        (target(TCP, destination={"kind": "ServiceAccount", "name": "seller"}), "spec.destination.namespace: it must"),
        (target(TCP, destination=account("seller", port=80)), "spec.destination.port: not part of v1alpha3"),
        (target(TCP, destination=account("seller", kind="Pod")), "Pod seller: only kind ServiceAccount"),
        (target(TCP, sources=[account("b", kind="Group")]), "Group b: only kind ServiceAccount"),
        (target(TCP, sources=[]), "spec.sources is empty"),
        (target(), "spec.rules is empty"),
        (target(TCP, rule("UDPRoute", "u")), "spec.rules: UDPRoute u: UDP is not supported"),
        (target(rule("HTTPRouteGroup", "empty")), "its rules permit nothing"),
        (target(HTTP), "HTTPRouteGroup shop/routes does not exist"),
        (target(rule("TCPRoute", "none")), "TCPRoute shop/none does not exist"),
    ],
)
def test_a_target_without_effect_has_a_reason(document: str, reason: str) -> None:
    parts = (document, tcp_route(), route_group(name="empty"))
    assert mesh_of(*parts).permissions == ()
    assert [text.partition(reason)[0] for text in reasons(*parts)] == ["TrafficTarget shop/target: "]


def test_a_match_that_does_not_exist_is_reported() -> None:
    policy = target(rule("HTTPRouteGroup", "routes", "books", "films"))
    (permission,) = mesh_of(policy, route_group(BOOKS)).permissions
    assert permission.requests == (GET_BOOKS,)
    assert reasons(policy, route_group(BOOKS)) == [
        "TrafficTarget shop/target: HTTPRouteGroup shop/routes has no match 'films'"
    ]


@pytest.mark.parametrize(
    ("document", "backends"),
    [
        (split(v1=90, v2=10), (("v1", 90), ("v2", 10))),
        (split(v1=90, v2=0), (("v1", 90),)),
        (split(version="v1alpha4", v2=1, v1=1), (("v1", 1), ("v2", 1))),
        (split(service="shop.shop.svc.cluster.local", v1__shop=1, v1=2), (("v1", 3),)),
    ],
)
def test_a_split_distributes_the_traffic_of_its_service(document: str, backends: tuple[tuple[str, int], ...]) -> None:
    mesh = mesh_of(document)
    assert mesh.splits == (Split("shop", "shop", backends),)
    assert not mesh.ignored_policies


def with_matches() -> str:
    document = json.loads(split(version="v1alpha4", v1=1))
    document["spec"]["matches"] = [{"kind": "HTTPRouteGroup", "name": "some"}]
    return json.dumps(document)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (split(v1=0, v2=0), "spec.backends: no weight is above 0"),
        (split(), "spec.backends: no weight is above 0"),
        (split(v1__other=1), "'v1.other' is not a service of the namespace 'shop'"),
        (split(service="shop.other.svc", v1=1), "'shop.other.svc' is not a service of the namespace 'shop'"),
        (with_matches(), "spec.matches: splitting only some requests is not supported"),
    ],
)
def test_a_split_without_effect_has_a_reason(document: str, reason: str) -> None:
    assert mesh_of(document).splits == ()
    assert reasons(document) == [f"TrafficSplit shop/split: {reason}"]


def test_the_first_of_two_splits_of_one_service_counts() -> None:
    both = (split("b", v2=1), split("a", v1=1))
    assert mesh_of(*both).splits == (Split("shop", "shop", (("v1", 1),)),)
    assert reasons(*both) == ["TrafficSplit shop/b: another TrafficSplit already splits the service 'shop'"]


def test_policies_of_other_namespaces_are_left_out() -> None:
    mesh = mesh_of(target(HTTP), route_group(BOOKS), split(v1=1), target(name="bad"), of="other")
    assert mesh == Mesh()


def test_the_order_of_policies_does_not_matter() -> None:
    parts = [
        *(target(HTTP, TCP, name=f"t{number}") for number in range(3)),
        *(split(f"s{number}", service=f"shop{number % 2}", v1=1) for number in range(3)),
        route_group(EVERYTHING, BOOKS),
        tcp_route(2, 1),
    ]
    for seed in range(5):
        assert mesh_of(*random.Random(seed).sample(parts, len(parts))) == mesh_of(*parts)
