"""SMI policies between two real Envoys: what is written in a manifest is what gets through, seconds later."""

import http.client
import time
from collections.abc import Callable, Iterator

import pytest

from demo.mesh import Json
from demo.namespaces import Namespace
from demo.processes import eventually
from demo.stage import CLUSTER_IP, Stage
from tests.functional.callers import mesh_certificate, over_tls

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.netns,
    pytest.mark.parametrize("whole", [("--incremental",)], indirect=True, ids=["policy"], scope="module"),
]
WITHIN = 3.0
POLICY = "policy.yaml"
SPLIT = "split.yaml"
TCP_IP, CANARY_IP = "10.96.0.13", "10.96.0.14"
THIEF = "bookthief.bookthief.cluster.local"


@pytest.fixture(scope="module")
def stranger(whole: Stage) -> Iterator[Namespace]:
    """A pod of the network without a sidecar."""
    with whole.network.pod("stranger", address="10.42.0.99") as pod:
        yield pod


@pytest.fixture(autouse=True)
def closed(whole: Stage) -> None:
    """Each test begins with permissive mode off and no policy."""
    mesh = whole.control_plane.mesh
    mesh.remove(POLICY)
    mesh.remove(SPLIT)
    mesh.set_permissive(on=False)
    soon(lambda: outcome(whole, "/books") == "closed", what="nothing may be called")


def manifest(kind: str, group: str, spec: Json, *, name: str = "buy") -> Json:
    """A policy in the bookstore's namespace."""
    return {"apiVersion": group, "kind": kind, "metadata": {"name": name, "namespace": "bookstore"}, "spec": spec}


def target(kind: str) -> Json:
    """The bookbuyer may call the bookstore by the routes of this kind."""
    store, buyer = ({"kind": "ServiceAccount", "name": name, "namespace": name} for name in ("bookstore", "bookbuyer"))
    spec = {"destination": store, "sources": [buyer], "rules": [{"kind": kind, "name": "buy"}]}
    return manifest("TrafficTarget", "access.smi-spec.io/v1alpha3", spec)


def permit(whole: Stage, **match: object) -> None:
    """Write that the bookbuyer may make such requests."""
    group = manifest("HTTPRouteGroup", "specs.smi-spec.io/v1alpha4", {"matches": [{"name": "it", **match}]})
    whole.control_plane.mesh.put(POLICY, target("HTTPRouteGroup"), group)


def outcome(whole: Stage, path: str, *, method: str = "GET", address: str = CLUSTER_IP) -> int | str:
    """What a request of the bookbuyer's app comes to: its status, or "closed"."""
    try:
        url = f"http://{address}{path}"
        return whole.bookbuyer.pod.request(url, method=method, host="bookstore.bookstore").status
    except OSError:
        return "closed"


def soon(true: Callable[[], object], *, what: str) -> None:
    """It becomes true within the time that a written manifest has; prints when."""
    begun = time.monotonic()
    eventually(true, what=what, within=WITHIN)
    print(f"{what}: after {(time.monotonic() - begun) * 1000:.0f} ms")


def test_with_a_policy_gets_through_what_it_permits_and_nothing_else(whole: Stage) -> None:
    permit(whole, pathRegex="/books(/[0-9]+)?", methods=["GET"])
    soon(lambda: outcome(whole, "/books") == 200, what="GET /books is permitted")
    found = {
        asked: outcome(whole, asked.partition(" ")[2], method=asked.partition(" ")[0])
        for asked in (
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
    assert list(found.values()) == [200, 200, 200, 403, 403, 403, 403, 403], found


def test_a_changed_policy_counts_on_connections_that_are_open(whole: Stage) -> None:
    permit(whole, pathRegex="/books")
    soon(lambda: outcome(whole, "/books") == 200, what="/books is permitted")
    connection = http.client.HTTPConnection(CLUSTER_IP)
    connection.sock = whole.bookbuyer.pod.connect(CLUSTER_IP, 80)

    def status() -> int:
        connection.request("GET", "/books", headers={"Host": "bookstore.bookstore"})
        answer = connection.getresponse()
        answer.read()
        return answer.status

    assert status() == 200
    permit(whole, pathRegex="/films")
    soon(lambda: status() == 403, what="/books is not permitted any more")
    connection.close()


def test_a_caller_without_a_permission_gets_403_whatever_its_own_sidecar_would_do(
    whole: Stage, stranger: Namespace
) -> None:
    permit(whole, pathRegex=".*")
    soon(lambda: outcome(whole, "/films") == 200, what="all paths are permitted")
    thief = mesh_certificate(whole.control_plane.ca_dir, name=THIEF)
    assert over_tls(stranger, certificate=thief).startswith(b"HTTP/1.1 403 ")
    buyer = mesh_certificate(whole.control_plane.ca_dir)
    assert over_tls(stranger, certificate=buyer).startswith(b"HTTP/1.1 200 ")


def test_a_tcp_service_takes_connections_of_permitted_callers_alone(whole: Stage, stranger: Namespace) -> None:
    mesh = whole.control_plane.mesh
    mesh.add_service("bookstore-tcp", like="bookstore", address=TCP_IP, protocol="tcp")
    mesh.put(
        POLICY,
        target("TCPRoute"),
        manifest("TCPRoute", "specs.smi-spec.io/v1alpha4", {"matches": {"ports": [14001]}}),
    )
    soon(lambda: outcome(whole, "/books", address=TCP_IP) == 200, what="TCP is permitted")
    assert outcome(whole, "/books") == "closed"
    thief = mesh_certificate(whole.control_plane.ca_dir, name=THIEF)
    with pytest.raises(OSError, match=r"(?i)alert|reset|eof"):
        over_tls(stranger, certificate=thief, service="bookstore-tcp")
    buyer = mesh_certificate(whole.control_plane.ca_dir)
    assert b" 200 " in over_tls(stranger, certificate=buyer, service="bookstore-tcp")


def test_calls_to_a_split_service_go_to_its_backends(whole: Stage) -> None:
    mesh = whole.control_plane.mesh
    mesh.add_service("bookstore-canary", like="bookstore", address=CANARY_IP, protocol="http")
    permit(whole, pathRegex="/books")
    soon(lambda: outcome(whole, "/books") == 200, what="/books is permitted")
    spec = {"service": "bookstore", "backends": [{"service": "bookstore-canary", "weight": 1}]}
    mesh.put(SPLIT, manifest("TrafficSplit", "split.smi-spec.io/v1alpha2", spec))
    counted = "cluster.bookstore/bookstore-canary|80.upstream_rq_total"
    soon(lambda: outcome(whole, "/books") == 200 and whole.bookbuyer.stat(counted) > 0, what="the split is followed")
    assert outcome(whole, "/films") == 403


def test_in_permissive_mode_all_gets_through_again(whole: Stage) -> None:
    whole.control_plane.mesh.set_permissive(on=True)
    soon(lambda: outcome(whole, "/films") == 200, what="permissive mode is on")
    rejected = (each.stats(r"\.update_rejected$") for each in (whole.bookbuyer, whole.bookstore))
    assert sum(value for found in rejected for value in found.values()) == 0
