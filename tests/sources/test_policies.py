import json
import random
from pathlib import Path
from typing import Any

import pytest

from osm_probes.mesh.identity import Identity
from osm_probes.mesh.mesh import Mesh
from osm_probes.mesh.policy import Permission, Requests, Split
from osm_probes.sources.manifests import read_objects
from osm_probes.sources.translate import mesh_from_objects
from tests.sources.manifests import account, namespace, route_group, rule, split, target, tcp_route

SELLER, BUYER = Identity("shop", "seller"), Identity("buyer", "buyer")
HTTP, TCP = rule("HTTPRouteGroup"), rule("TCPRoute")
BOOKS = {"name": "books", "pathRegex": "/books", "methods": ["GET"]}
EVERYTHING = {"name": "everything"}
GET_BOOKS, ANY = Requests("/books", ("GET",)), Requests()


def mesh_of(*documents: str, of: str = "osm") -> Mesh:
    texts = (namespace(mesh=of), *documents)
    return mesh_from_objects(
        [each for one in texts for each in read_objects(Path("x.yaml"), one.encode())], mesh_name="osm"
    )


def reasons(*documents: str) -> list[str]:
    return sorted(f"{each.policy}: {each.reason}" for each in mesh_of(*documents).ignored)


def permitted(**rest: Any) -> tuple[Permission, ...]:
    return (Permission("shop/target", destination=SELLER, sources=(BUYER,), **rest),)


@pytest.mark.parametrize(
    ("documents", "permissions"),
    [
        pytest.param(
            (target(HTTP), route_group(BOOKS, EVERYTHING)),
            permitted(requests=(ANY, GET_BOOKS)),
            id="without matches a rule is for all of its group",
        ),
        pytest.param(
            (target(rule("HTTPRouteGroup", "routes", "books")), route_group(BOOKS, EVERYTHING)),
            permitted(requests=(GET_BOOKS,)),
            id="with matches for these alone",
        ),
        pytest.param((target(TCP), tcp_route()), permitted(connections=True), id="a TCP route is for all ports"),
        pytest.param(
            (target(TCP), tcp_route(3306, 80, 80)),
            permitted(connections=True, ports=(80, 3306)),
            id="or for those that it names",
        ),
        pytest.param(
            (target(TCP, rule("TCPRoute", "all")), tcp_route(80), tcp_route(name="all")),
            permitted(connections=True),
            id="one for all ports makes the others needless",
        ),
        pytest.param(
            (target(TCP, HTTP), tcp_route(80), route_group(BOOKS)),
            permitted(requests=(GET_BOOKS,), connections=True, ports=(80,)),
            id="a TCP route bounds the HTTP rules beside it",
        ),
        pytest.param(
            (target(TCP, HTTP), route_group(BOOKS)), (), id="a TCP route that does not exist bounds them to nothing"
        ),
        pytest.param((target(HTTP),), (), id="a group that does not exist permits nothing"),
        pytest.param(
            (target(HTTP, rule("HTTPRouteGroup", "none")), route_group(BOOKS)),
            permitted(requests=(GET_BOOKS,)),
            id="but leaves the other rules",
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
        ({"name": "a", "methods": ["POST", "GET", "GET"]}, Requests(methods=("GET", "POST"))),
        ({"name": "a", "methods": ["GET", "*"]}, Requests()),
        (
            {"name": "a", "headers": {"X-B": "2", "x-a": "1"}},
            Requests(headers=(("x-a", "1"), ("x-b", "2"))),
        ),
        ({"name": "a", "headers": [{"x-b": "2"}, {"x-a": "1"}]}, Requests(headers=(("x-a", "1"), ("x-b", "2")))),
        ({"name": "a", "headers": {"x-a": ""}}, Requests(headers=(("x-a", "^$"),))),
        ({"name": "a", "headers": {"Host": "shop"}}, Requests(headers=((":authority", "shop"),))),
    ],
)
def test_a_match_says_what_requests_are_like(match: dict[str, Any], requests: Requests) -> None:
    (permission,) = mesh_of(target(HTTP), route_group(match)).permissions
    assert permission.requests == (requests,)


def test_sources_are_sorted_and_of_the_policys_own_namespace_where_they_name_none() -> None:
    sources = [account("c"), {"kind": "ServiceAccount", "name": "b"}, account("c"), account("a", namespace="z")]
    (permission,) = mesh_of(target(TCP, sources=sources), tcp_route()).permissions
    assert permission.sources == (Identity("shop", "b"), Identity("shop", "c"), Identity("z", "a"))


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (target(TCP, destination=account("seller", namespace="other")), "spec.destination.namespace: it can only be"),
        (target(TCP, destination={"kind": "ServiceAccount", "name": "seller"}), "spec.destination.namespace: it can"),
        (target(TCP, destination=account("seller", port=80)), "spec.destination.port: not known in v1alpha3"),
        (target(TCP, destination=account("seller", kind="Pod")), "Pod seller: only a ServiceAccount can"),
        (target(TCP, sources=[account("b", kind="Group")]), "Group b: only a ServiceAccount can"),
        (target(TCP, sources=[]), "spec.sources: there is none"),
        (target(), "spec.rules: there is none"),
        (target(TCP, rule("UDPRoute", "u")), "spec.rules: UDPRoute u: UDP is not honoured"),
        (target(rule("HTTPRouteGroup", "empty")), "its rules permit nothing"),
        (target(HTTP), "HTTPRouteGroup shop/routes does not exist"),
        (target(rule("TCPRoute", "none")), "TCPRoute shop/none does not exist"),
    ],
)
def test_a_target_that_permits_nothing_says_why(document: str, reason: str) -> None:
    parts = (document, tcp_route(), route_group(name="empty"))
    assert mesh_of(*parts).permissions == ()
    assert [each.partition(reason)[0] for each in reasons(*parts)] == ["TrafficTarget shop/target: "]


def test_a_match_that_does_not_exist_is_told() -> None:
    some = target(rule("HTTPRouteGroup", "routes", "books", "films"))
    (permission,) = mesh_of(some, route_group(BOOKS)).permissions
    assert permission.requests == (GET_BOOKS,)
    assert reasons(some, route_group(BOOKS)) == [
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
def test_a_split_shares_out_the_calls_to_its_service(document: str, backends: tuple[tuple[str, int], ...]) -> None:
    found = mesh_of(document)
    assert found.splits == (Split("shop", "shop", backends),)
    assert not found.ignored


def with_matches() -> str:
    document = json.loads(split(version="v1alpha4", v1=1))
    document["spec"]["matches"] = [{"kind": "HTTPRouteGroup", "name": "some"}]
    return json.dumps(document)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (split(v1=0, v2=0), "spec.backends: no weight is above 0"),
        (split(), "spec.backends: no weight is above 0"),
        (split(v1__other=1), "'v1.other' is no service of the namespace 'shop'"),
        (split(service="shop.other.svc", v1=1), "'shop.other.svc' is no service of the namespace 'shop'"),
        (with_matches(), "spec.matches: a split of some requests only is not honoured"),
    ],
)
def test_a_split_without_effect_says_why(document: str, reason: str) -> None:
    assert mesh_of(document).splits == ()
    assert reasons(document) == [f"TrafficSplit shop/split: {reason}"]


def test_of_two_splits_of_one_service_the_first_counts() -> None:
    both = (split("b", v2=1), split("a", v1=1))
    assert mesh_of(*both).splits == (Split("shop", "shop", (("v1", 1),)),)
    assert reasons(*both) == ["TrafficSplit shop/b: another TrafficSplit is for the service 'shop', too"]


def test_policies_of_other_namespaces_are_left_out() -> None:
    found = mesh_of(target(HTTP), route_group(BOOKS), split(v1=1), target(name="bad"), of="other")
    assert found == Mesh()


def test_the_order_of_policies_does_not_matter() -> None:
    parts = [
        *(target(HTTP, TCP, name=f"t{number}") for number in range(3)),
        *(split(f"s{number}", service=f"shop{number % 2}", v1=1) for number in range(3)),
        route_group(EVERYTHING, BOOKS),
        tcp_route(2, 1),
    ]
    for seed in range(5):
        assert mesh_of(*random.Random(seed).sample(parts, len(parts))) == mesh_of(*parts)
