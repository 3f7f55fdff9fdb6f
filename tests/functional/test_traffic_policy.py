"""SMI policies between two real Envoys: a changed manifest takes effect within seconds."""

import http.client
import time
from collections.abc import Callable, Iterator

import pytest

from demo.mesh import Json
from demo.namespaces import Namespace
from demo.processes import eventually
from demo.testbed import CLUSTER_IP, MeshTestbed
from tests.functional.callers import mesh_certificate, over_tls
from tests.sources.regexes import FORMERLY_ACCEPTED

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.netns,
    pytest.mark.parametrize("testbed", [("--incremental",)], indirect=True, ids=["policy"], scope="module"),
]
WITHIN = 3.0
POLICY = "policy.yaml"
SPLIT = "split.yaml"
BAD = "bad.yaml"
TCP_IP, CANARY_IP = "10.96.0.13", "10.96.0.14"
THIEF = "bookthief.bookthief.cluster.local"


@pytest.fixture(scope="module")
def stranger(testbed: MeshTestbed) -> Iterator[Namespace]:
    """A pod on the network without a sidecar."""
    with testbed.network.pod("stranger", address="10.42.0.99") as pod:
        yield pod


@pytest.fixture(autouse=True)
def closed(testbed: MeshTestbed) -> None:
    """Start each test with permissive mode off and no policy."""
    mesh = testbed.control_plane.mesh
    mesh.remove(POLICY)
    mesh.remove(SPLIT)
    mesh.set_permissive(on=False)
    soon(lambda: outcome(testbed, "/books") == "closed", what="all calls are refused")


def manifest(kind: str, group: str, spec: Json, *, name: str = "buy") -> Json:
    """An SMI object in the bookstore's namespace."""
    return {"apiVersion": group, "kind": kind, "metadata": {"name": name, "namespace": "bookstore"}, "spec": spec}


def target(kind: str, *, name: str = "buy") -> Json:
    """A TrafficTarget: the bookbuyer may call the bookstore by the route object of this kind."""
    store, buyer = ({"kind": "ServiceAccount", "name": name, "namespace": name} for name in ("bookstore", "bookbuyer"))
    spec = {"destination": store, "sources": [buyer], "rules": [{"kind": kind, "name": name}]}
    return manifest("TrafficTarget", "access.smi-spec.io/v1alpha3", spec, name=name)


def permit(testbed: MeshTestbed, **match: object) -> None:
    """Write a policy that permits the bookbuyer's requests that match."""
    group = manifest("HTTPRouteGroup", "specs.smi-spec.io/v1alpha4", {"matches": [{"name": "it", **match}]})
    testbed.control_plane.mesh.put(POLICY, target("HTTPRouteGroup"), group)


def outcome(testbed: MeshTestbed, path: str, *, method: str = "GET", address: str = CLUSTER_IP) -> int | str:
    """Send a request from the bookbuyer's pod and return its status, or "closed" if there is no response."""
    try:
        url = f"http://{address}{path}"
        return testbed.bookbuyer.pod.request(url, method=method, host="bookstore.bookstore").status
    except OSError:
        return "closed"


def soon(condition: Callable[[], object], *, what: str) -> None:
    """Wait until the condition holds, at most WITHIN seconds; print how long it took."""
    start = time.monotonic()
    eventually(condition, what=what, within=WITHIN)
    print(f"{what}: after {(time.monotonic() - start) * 1000:.0f} ms")


def test_a_policy_permits_exactly_the_requests_that_it_matches(testbed: MeshTestbed) -> None:
    permit(testbed, pathRegex="/books(/[0-9]+)?", methods=["GET"])
    soon(lambda: outcome(testbed, "/books") == 200, what="GET /books is permitted")
    outcomes = {
        request: outcome(testbed, request.partition(" ")[2], method=request.partition(" ")[0])
        for request in (
            "GET /books",
            "GET /books?page=2",
            "GET /books/7",
            "POST /books",
            "GET /films",
            "GET /books/7/pages",
            "GET /x/books",
            "GET /books/%2e%2e/7",
        )
    }
    assert list(outcomes.values()) == [200, 200, 200, 403, 403, 403, 403, 403], outcomes


def test_a_changed_policy_takes_effect_on_open_connections(testbed: MeshTestbed) -> None:
    permit(testbed, pathRegex="/books")
    soon(lambda: outcome(testbed, "/books") == 200, what="/books is permitted")
    connection = http.client.HTTPConnection(CLUSTER_IP)
    connection.sock = testbed.bookbuyer.pod.connect(CLUSTER_IP, 80)

    def status() -> int:
        connection.request("GET", "/books", headers={"Host": "bookstore.bookstore"})
        response = connection.getresponse()
        response.read()
        return response.status

    assert status() == 200
    permit(testbed, pathRegex="/films")
    soon(lambda: status() == 403, what="/books is no longer permitted")
    connection.close()


@pytest.mark.parametrize("text", FORMERLY_ACCEPTED)
def test_an_expression_that_envoy_rejects_does_not_hold_back_the_change_of_another_policy(
    testbed: MeshTestbed, text: str
) -> None:
    permit(testbed, pathRegex="/books")
    soon(lambda: outcome(testbed, "/books") == 200, what="/books is permitted")
    matches = [{"name": "path", "pathRegex": text}, {"name": "header", "headers": {"x": text}}]
    group = manifest("HTTPRouteGroup", "specs.smi-spec.io/v1alpha4", {"matches": matches}, name="bad")
    testbed.control_plane.mesh.put(BAD, target("HTTPRouteGroup", name="bad"), group)
    try:
        permit(testbed, pathRegex="/films")
        soon(lambda: outcome(testbed, "/books") == 403, what="/books is no longer permitted")
        assert outcome(testbed, "/films") == 200
    finally:
        testbed.control_plane.mesh.remove(BAD)


def test_the_callees_sidecar_refuses_a_caller_without_permission_with_403(
    testbed: MeshTestbed, stranger: Namespace
) -> None:
    permit(testbed, pathRegex=".*")
    soon(lambda: outcome(testbed, "/films") == 200, what="all paths are permitted")
    thief = mesh_certificate(testbed.control_plane.ca_dir, name=THIEF)
    assert over_tls(stranger, certificate=thief).startswith(b"HTTP/1.1 403 ")
    buyer = mesh_certificate(testbed.control_plane.ca_dir)
    assert over_tls(stranger, certificate=buyer).startswith(b"HTTP/1.1 200 ")


def test_a_tcp_service_accepts_connections_only_from_permitted_callers(
    testbed: MeshTestbed, stranger: Namespace
) -> None:
    mesh = testbed.control_plane.mesh
    mesh.add_service("bookstore-tcp", like="bookstore", address=TCP_IP, protocol="tcp")
    mesh.put(
        POLICY,
        target("TCPRoute"),
        manifest("TCPRoute", "specs.smi-spec.io/v1alpha4", {"matches": {"ports": [14001]}}),
    )
    soon(lambda: outcome(testbed, "/books", address=TCP_IP) == 200, what="TCP is permitted")
    assert outcome(testbed, "/books") == "closed"
    thief = mesh_certificate(testbed.control_plane.ca_dir, name=THIEF)
    with pytest.raises(OSError, match=r"(?i)alert|reset|eof"):
        over_tls(stranger, certificate=thief, service="bookstore-tcp")
    buyer = mesh_certificate(testbed.control_plane.ca_dir)
    assert b" 200 " in over_tls(stranger, certificate=buyer, service="bookstore-tcp")


def test_calls_to_a_split_service_go_to_its_backends(testbed: MeshTestbed) -> None:
    mesh = testbed.control_plane.mesh
    mesh.add_service("bookstore-canary", like="bookstore", address=CANARY_IP, protocol="http")
    permit(testbed, pathRegex="/books")
    soon(lambda: outcome(testbed, "/books") == 200, what="/books is permitted")
    spec = {"service": "bookstore", "backends": [{"service": "bookstore-canary", "weight": 1}]}
    mesh.put(SPLIT, manifest("TrafficSplit", "split.smi-spec.io/v1alpha2", spec))
    canary_requests = "cluster.bookstore/bookstore-canary|80.upstream_rq_total"
    soon(
        lambda: outcome(testbed, "/books") == 200 and testbed.bookbuyer.stat(canary_requests) > 0,
        what="the split takes effect",
    )
    assert outcome(testbed, "/films") == 403


def test_permissive_mode_permits_all_requests_again(testbed: MeshTestbed) -> None:
    testbed.control_plane.mesh.set_permissive(on=True)
    soon(lambda: outcome(testbed, "/films") == 200, what="permissive mode is on")
    rejected = (sidecar.stats(r"\.update_rejected$") for sidecar in (testbed.bookbuyer, testbed.bookstore))
    assert sum(value for stats in rejected for value in stats.values()) == 0
