"""Dual-stack and IPv6-only pods: real Envoys carry IPv6 traffic over mTLS, and nothing else passes by IPv6."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.mesh import IpFamilies, Json, to_ipv6
from demo.namespaces import GATEWAY, Namespace, redirect, run
from demo.processes import eventually, python, running
from demo.sidecar import sidecar
from demo.testbed import BOOKBUYER_IP, BOOKSTORE_IP, CLUSTER_IP, MeshTestbed, addresses, running_testbed
from osm_probes.admission.redirect import redirect_rules
from osm_probes.mesh.identity import ProxyName
from osm_probes.mesh.names import controller_server_name
from osm_probes.xds.app_probes import ProbeKind, ProbeScheme, RewrittenProbe
from osm_probes.xds.bootstrap import AdsTarget, build_bootstrap
from osm_probes.xds.secrets import Secrets
from tests.functional.callers import BUYER, ads_name, mesh_certificate, over_tls

pytestmark = [pytest.mark.envoy, pytest.mark.netns, pytest.mark.ipv6]
STORE = f"http://[{to_ipv6(BOOKSTORE_IP)}]:14001"
SERVICE = f"http://[{to_ipv6(CLUSTER_IP)}]"
STRANGER_IP, STALL_IP, PROBED_IP = "10.42.0.99", "10.42.0.97", "10.42.0.98"
PROBES = [
    RewrittenProbe(ProbeKind.LIVENESS, "books", ProbeScheme.HTTP, 14001, path="/books"),
    RewrittenProbe(ProbeKind.READINESS, "gone", ProbeScheme.HTTP, 14002, path="/books"),
    RewrittenProbe(ProbeKind.STARTUP, "books", ProbeScheme.HTTP, 14001, path="/books"),
    RewrittenProbe(ProbeKind.LIVENESS, "books", ProbeScheme.TCP, 14001),
]


@pytest.fixture(scope="module", params=[IpFamilies.DUAL_STACK, IpFamilies.IPV6], ids=["dual-stack", "IPv6-only"])
def testbed(request: pytest.FixtureRequest, envoy: Path) -> Iterator[MeshTestbed]:
    """Bookbuyer and bookstore with IPv6. Only GET /books is permitted."""
    families: IpFamilies = request.param
    with running_testbed(envoy=envoy, flags=("--incremental",), families=families) as testbed:
        testbed.control_plane.mesh.put("policy.yaml", *policy())
        testbed.control_plane.mesh.set_permissive(on=False)
        eventually(lambda: testbed.request_books().status == 200, what="GET /books is permitted", within=20)
        films = f"{testbed.service_url}/films"
        eventually(lambda: outcome(testbed.bookbuyer.pod, films) == 403, what="no other is", within=20)
        yield testbed


@pytest.fixture(scope="module")
def stranger(testbed: MeshTestbed) -> Iterator[Namespace]:
    """A pod without a sidecar, where another bookstore runs."""
    with (
        testbed.network.pod("stranger", **addresses(STRANGER_IP, testbed.families)) as pod,
        bookstore_in(pod, testbed.folder),
    ):
        yield pod


def policy() -> Iterator[Json]:
    """The bookbuyer may GET /books from the bookstore."""
    store, buyer = ({"kind": "ServiceAccount", "name": name, "namespace": name} for name in ("bookstore", "bookbuyer"))
    rules = [{"kind": "HTTPRouteGroup", "name": "buy"}]
    metadata = {"name": "buy", "namespace": "bookstore"}
    target = {"destination": store, "sources": [buyer], "rules": rules}
    matches = [{"name": "books", "pathRegex": "/books", "methods": ["GET"]}]
    yield {"apiVersion": "access.smi-spec.io/v1alpha3", "kind": "TrafficTarget", "metadata": metadata, "spec": target}
    group = {"apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "HTTPRouteGroup", "metadata": metadata}
    yield {**group, "spec": {"matches": matches}}


@contextlib.contextmanager
def bookstore_in(pod: Namespace, folder: Path) -> Iterator[None]:
    """A bookstore without a sidecar of its own in this pod."""
    with running(pod.command(*python("demo.apps", "bookstore")), log=folder / f"{pod.name}.app.log"):
        eventually(lambda: pod.request("http://[::1]:14001/books").status == 200, what="the bookstore runs", within=20)
        yield


def outcome(caller: Namespace, url: str) -> int | str:
    """The status of a GET, or "closed" if there is no response."""
    try:
        return caller.request(url, host="bookstore.bookstore").status
    except OSError:
        return "closed"


def test_a_plain_request_by_ipv6_from_outside_of_the_mesh_gets_no_response(
    testbed: MeshTestbed, stranger: Namespace
) -> None:
    assert testbed.bookstore.process.running
    assert outcome(stranger, f"{STORE}/books") == "closed"


def test_a_permitted_request_by_ipv6_passes_with_the_callers_identity(testbed: MeshTestbed) -> None:
    response = testbed.bookbuyer.pod.request(f"{SERVICE}/books", host="bookstore.bookstore")
    assert json.loads(response.text)["caller"] == BUYER


def test_a_request_by_ipv6_that_no_policy_permits_gets_403(testbed: MeshTestbed) -> None:
    assert outcome(testbed.bookbuyer.pod, f"{SERVICE}/films") == 403


def test_a_pods_addresses_are_one_endpoint(testbed: MeshTestbed) -> None:
    primary = BOOKSTORE_IP if testbed.families is IpFamilies.DUAL_STACK else to_ipv6(BOOKSTORE_IP)
    assert testbed.bookbuyer.endpoints("bookstore/bookstore|80") == {f"{primary}:14001"}


def test_a_caller_without_ipv4_connects_to_a_dual_stack_pod_by_ipv6(testbed: MeshTestbed) -> None:
    buyer = testbed.bookbuyer.pod
    address = ("ip", "-netns", buyer.name, "address")
    if testbed.families is IpFamilies.DUAL_STACK:
        run(*address, "delete", f"{BOOKBUYER_IP}/16", "dev", "eth0")
    try:
        # A connection that its sidecar has already opened from the IPv4 address is closed first.
        eventually(lambda: outcome(buyer, f"{SERVICE}/books") == 200, what="a request without IPv4", within=20)
        # More requests than endpoints: each of them would have its turn.
        assert [outcome(buyer, f"{SERVICE}/books") for _ in range(6)] == [200] * 6
    finally:
        if testbed.families is IpFamilies.DUAL_STACK:
            run(*address, "add", f"{BOOKBUYER_IP}/16", "dev", "eth0")
            run("ip", "-netns", buyer.name, "route", "add", "default", "via", GATEWAY)


def test_a_headless_service_is_called_at_a_pods_ipv6_address(testbed: MeshTestbed) -> None:
    testbed.control_plane.mesh.add_service("headless", like="bookstore", address="None", protocol="http")

    def caller() -> str:
        response = testbed.bookbuyer.pod.request(f"{STORE}/books", host="headless.bookstore:14001")
        return str(json.loads(response.text)["caller"]) if response.status == 200 else ""

    assert eventually(caller, what="the headless service is called", within=20) == BUYER


def test_the_inbound_sidecar_verifies_certificates_by_ipv6(testbed: MeshTestbed, stranger: Namespace) -> None:
    buyer = mesh_certificate(testbed.control_plane.ca_dir)
    address = to_ipv6(BOOKSTORE_IP)
    assert over_tls(stranger, certificate=buyer, address=address).startswith(b"HTTP/1.1 200 ")
    with pytest.raises(OSError, match=r"(?i)alert|reset|eof"):
        over_tls(stranger, certificate=None, address=address)


def test_a_pod_calls_its_own_service_by_ipv6_through_its_sidecar(testbed: MeshTestbed) -> None:
    # Its sidecar has no permission to call it, so the request is closed; without a redirect it would get 200.
    assert outcome(testbed.bookstore.pod, f"{SERVICE}/books") == "closed"


def test_prometheus_reads_a_sidecars_metrics_by_ipv6(testbed: MeshTestbed, stranger: Namespace) -> None:
    assert testbed.bookstore.process.running
    assert outcome(stranger, f"http://[{to_ipv6(BOOKSTORE_IP)}]:15010/stats/prometheus") == 200


@pytest.mark.usefixtures("stranger")
def test_ipv6_addresses_outside_of_the_mesh_are_reachable_exactly_with_egress(testbed: MeshTestbed) -> None:
    outside = f"http://[{to_ipv6(STRANGER_IP)}]:14001/books"
    assert outcome(testbed.bookbuyer.pod, outside) == "closed"
    testbed.control_plane.mesh.set_egress(on=True)
    eventually(lambda: outcome(testbed.bookbuyer.pod, outside) == 200, what="egress by IPv6", within=20)
    testbed.control_plane.mesh.set_egress(on=False)
    eventually(lambda: outcome(testbed.bookbuyer.pod, outside) == "closed", what="egress is off", within=20)


def test_the_kubelets_probes_pass_by_ipv6(testbed: MeshTestbed) -> None:
    with (
        testbed.network.pod("probed", **addresses(PROBED_IP, testbed.families)) as pod,
        sidecar(pod, envoy=testbed.envoy, bootstrap=with_probes(testbed), folder=testbed.folder),
    ):
        redirect(pod, rules=redirect_rules())
        with bookstore_in(pod, testbed.folder):
            expected = [200, 503, 200, 200]
            by_ipv6 = f"[{to_ipv6(PROBED_IP)}]"
            eventually(lambda: probe_statuses(testbed, by_ipv6) == expected, what="probes by IPv6", within=20)
            if testbed.families is IpFamilies.DUAL_STACK:
                assert probe_statuses(testbed, PROBED_IP) == expected


def test_a_probed_application_may_listen_on_ipv6_only(testbed: MeshTestbed, tmp_path: Path) -> None:
    (tmp_path / "books").touch()
    server = python("http.server", 14001, "--bind", "::1", "--directory", tmp_path)
    with (
        testbed.network.pod("probed", **addresses(PROBED_IP, testbed.families)) as pod,
        sidecar(pod, envoy=testbed.envoy, bootstrap=with_probes(testbed), folder=testbed.folder),
        running(pod.command(*server), log=tmp_path / "server.log"),
    ):
        eventually(
            lambda: probe_statuses(testbed, f"[{to_ipv6(PROBED_IP)}]") == [200, 503, 200, 200],
            what="probes of an application without IPv4",
            within=20,
        )


def probe_statuses(testbed: MeshTestbed, address: str) -> list[int | str]:
    """The statuses that a kubelet outside of the pod gets."""
    ports = ((probe.sidecar_port, probe.sidecar_path) for probe in PROBES)
    return [outcome(testbed.network.hub, f"http://{address}:{port}{path}") for port, path in ports]


def with_probes(testbed: MeshTestbed) -> Json:
    """The bookstore's bootstrap with probes, as an injector with an IPv6 address makes it."""
    name = ads_name(testbed.control_plane.bootstrap("bookstore/bookstore-0"))
    own = mesh_certificate(testbed.control_plane.ca_dir, name=name)
    root = (testbed.control_plane.ca_dir / "ca.crt").read_bytes()
    bootstrap = build_bootstrap(
        ProxyName.parse(name, trust_domain="cluster.local"),
        trust_domain="cluster.local",
        ads=AdsTarget(to_ipv6("10.42.0.1"), 15128, controller_server_name("osm-system")),
        secrets=Secrets(own.chain_pem, own.key_pem, root),
        app_probes=PROBES,
        ipv6=True,
    )
    document: Json = json.loads(bootstrap)
    return document


def test_an_excluded_inbound_port_accepts_requests_by_ipv6(testbed: MeshTestbed, stranger: Namespace) -> None:
    with (
        testbed.network.pod("stall", **addresses(STALL_IP, testbed.families)) as pod,
        bookstore_in(pod, testbed.folder),
    ):
        stall = f"http://[{to_ipv6(STALL_IP)}]:14001/books"
        redirect(pod, rules=redirect_rules())
        assert outcome(stranger, stall) == "closed"
        run(*pod.command("ip6tables", "-t", "nat", "-F"))
        redirect(pod, rules=redirect_rules(excluded_inbound_ports=[14001]))
        assert outcome(stranger, stall) == 200


@pytest.mark.usefixtures("stranger")
@pytest.mark.parametrize("excluded", [f"{to_ipv6(STRANGER_IP)}/128", "fd00:42::/64", "::/0"])
def test_an_excluded_ipv6_range_bypasses_the_sidecar(testbed: MeshTestbed, excluded: str) -> None:
    buyer = testbed.bookbuyer.pod
    with rules(buyer, excluded=[excluded]):
        assert outcome(buyer, f"http://[{to_ipv6(STRANGER_IP)}]:14001/books") == 200
    assert outcome(buyer, f"http://[{to_ipv6(STRANGER_IP)}]:14001/books") == "closed"


@contextlib.contextmanager
def rules(pod: Namespace, *, excluded: list[str]) -> Iterator[None]:
    """Redirect rules with these excluded ranges instead of the default rules."""
    for ranges in (excluded, []):
        run(*pod.command("ip6tables", "-t", "nat", "-F"))
        redirect(pod, rules=redirect_rules(excluded_outbound_ranges=ranges))
        if ranges:
            yield


# The last test of this module, because it removes rules.
def test_without_ipv6_rules_a_plain_request_by_ipv6_would_reach_the_application(
    testbed: MeshTestbed, stranger: Namespace
) -> None:
    run(*testbed.bookstore.pod.command("ip6tables", "-t", "nat", "-F"))
    assert outcome(stranger, f"{STORE}/books") == 200


def test_running_sidecars_listen_on_ipv6_from_the_first_ipv6_address_on(envoy: Path) -> None:
    with running_testbed(envoy=envoy, flags=("--incremental",)) as testbed:
        buyer = testbed.bookbuyer
        metrics = "http://[::1]:15010/stats/prometheus"
        assert outcome(buyer.pod, metrics) == "closed"
        testbed.control_plane.mesh.set_ip_families(IpFamilies.DUAL_STACK)
        eventually(lambda: outcome(buyer.pod, metrics) == 200, what="the sidecar listens on IPv6", within=20)
        assert testbed.request_books().status == 200
        assert sum(buyer.stats(r"\.update_rejected$").values()) == 0
