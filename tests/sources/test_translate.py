import random
from pathlib import Path
from typing import Any

import pytest

from osm_probes.mesh.identity import Identity
from osm_probes.mesh.mesh import Endpoint, Mesh, Protocol, Service, ServicePort
from osm_probes.mesh.settings import Settings
from osm_probes.sources.manifests import read_objects
from osm_probes.sources.translate import mesh_from_objects
from tests.sources.manifests import document, mesh_config, namespace, pod, service, slice_of


def mesh_of(*documents: str) -> Mesh:
    objects = [found for text in documents for found in read_objects(Path("x.yaml"), text.encode())]
    return mesh_from_objects(objects, mesh_name="osm")


def shop(*documents: str) -> Service:
    (found,) = mesh_of(namespace(), *documents).services
    return found


def port(*documents: str) -> ServicePort:
    (found,) = shop(*documents).ports
    return found


def at(address: str = "10.42.0.1", **more: Any) -> dict[str, Any]:
    return {"addresses": [address], **more}


def test_only_namespaces_of_the_mesh_count() -> None:
    parts = (service(), pod(), document("ServiceAccount"))
    assert mesh_of(namespace(mesh="other"), *parts) == Mesh()
    assert len(mesh_of(namespace(), *parts).services) == 1


def test_a_pod_with_a_uuid_is_a_proxy() -> None:
    (proxy,) = mesh_of(namespace(), pod(), document("Pod", "bare")).proxies.values()
    assert (proxy.pod, proxy.identity, proxy.addresses) == ("shop-0", Identity("shop", "seller"), ("10.42.0.1",))


def test_a_pod_with_a_copied_uuid_does_not_replace_the_original() -> None:
    def other(text: str) -> str:
        return text.replace('"namespace": "shop"', '"namespace": "aaa"')

    found = mesh_of(namespace(), namespace("aaa"), pod(), other(pod(ip="10.42.0.2")))
    uuid = "00000000-0000-0000-0000-000000000000"
    assert found.has_proxy(uuid, identity=Identity("shop", "seller"))
    assert found.has_proxy(uuid, identity=Identity("aaa", "seller"))
    assert not found.has_proxy(uuid, identity=Identity("aaa", "default"))
    assert len(found.proxies) == 2


@pytest.mark.parametrize(
    "account", ["6f2f2c3e-0d4b-4b3c-9d8f-0a1b2c3d4e5f.canary.foo", "osm-controller.osm-system", "osm-injector.a"]
)
def test_a_service_account_with_an_ambiguous_name_is_left_out(account: str) -> None:
    found = mesh_of(namespace(), service(), pod(), document("ServiceAccount", account), pod("shop-1", account=account))
    assert found.identities == {Identity("shop", "seller")} == set(found.services[0].identities)
    assert [proxy.pod for proxy in found.proxies.values()] == ["shop-0"]
    assert found.ambiguous_identities == {Identity("shop", account)}


def test_a_finished_pod_is_no_proxy() -> None:
    assert not mesh_of(namespace(), pod(phase="Succeeded")).proxies


def test_service_accounts_and_accounts_of_proxies_are_identities_but_not_those_of_pods_without_sidecar() -> None:
    found = mesh_of(namespace(), document("ServiceAccount", "a.b"), pod(), document("Pod", "bare")).identities
    assert found == {Identity("shop", "a.b"), Identity("shop", "seller")}


@pytest.mark.parametrize(
    ("conditions", "ready"), [({}, True), ({"ready": None}, True), ({"ready": True}, True), ({"ready": False}, False)]
)
def test_only_ready_endpoints_count(conditions: dict[str, Any], *, ready: bool) -> None:
    found = port(service(), slice_of(at(conditions=conditions))).endpoints
    assert found == ((Endpoint("10.42.0.1", 8080),) if ready else ())


def test_endpoint_slices_are_merged_and_sorted_by_address() -> None:
    found = port(service(), slice_of(at("10.42.0.10"), name="b"), slice_of(at("10.42.0.9"), name="a")).endpoints
    assert [endpoint.address for endpoint in found] == ["10.42.0.9", "10.42.0.10"]


OF_POD = {"targetRef": {"kind": "Pod", "name": "shop-0"}}


@pytest.mark.parametrize(
    ("primary", "expected"),
    [
        ("10.42.0.1", Endpoint("10.42.0.1", 8080, ("fd00::1",))),
        ("fd00::1", Endpoint("fd00::1", 8080, ("10.42.0.1",))),
    ],
)
def test_both_addresses_of_a_dual_stack_pod_are_one_endpoint(primary: str, expected: Endpoint) -> None:
    ipv4 = slice_of(at("10.42.0.1", **OF_POD))
    ipv6 = slice_of(at("fd00::1", **OF_POD), addressType="IPv6", name="shop-2")
    assert port(service(), pod(ip=primary), ipv6, ipv4).endpoints == (expected,)


def test_both_addresses_of_a_dual_stack_pod_without_slices_are_one_endpoint() -> None:
    both = pod(podIPs=[{"ip": "10.42.0.1"}, {"ip": "fd00::1"}])
    assert port(service(), both).endpoints == (Endpoint("10.42.0.1", 80, ("fd00::1",)),)


def test_addresses_without_a_pod_are_separate_endpoints() -> None:
    found = port(service(), slice_of(at("10.42.0.1")), slice_of(at("fd00::1"), addressType="IPv6", name="shop-2"))
    assert found.endpoints == (Endpoint("10.42.0.1", 8080), Endpoint("fd00::1", 8080))


def test_several_addresses_of_one_family_stay_separate_endpoints() -> None:
    found = port(service(), pod(), slice_of(at("10.42.0.1", **OF_POD), at("10.42.0.2", **OF_POD)))
    assert found.endpoints == (Endpoint("10.42.0.1", 8080), Endpoint("10.42.0.2", 8080))


def test_ipv6_addresses_are_normalised() -> None:
    found = shop(service(clusterIP="fd00:0::1"), slice_of(at("fd00::00:2"), addressType="IPv6"))
    assert found.addresses == ("fd00::1",)
    assert found.ports[0].endpoints == (Endpoint("fd00::2", 8080),)


def test_an_endpoint_slice_of_dns_names_is_left_out() -> None:
    assert port(service(), slice_of(at("example.org"), addressType="FQDN")).endpoints == ()


def test_endpoints_count_only_without_endpoint_slices() -> None:
    subsets = [{"addresses": [{"ip": "10.42.0.1"}], "notReadyAddresses": [{"ip": "10.42.0.2"}], "ports": [{"port": 8}]}]
    endpoints = document("Endpoints", subsets=subsets)
    assert port(service(), endpoints).endpoints == (Endpoint("10.42.0.1", 8),)
    assert port(service(), endpoints, slice_of()).endpoints == ()


def test_endpoint_ports_are_matched_by_name() -> None:
    found = shop(
        service({"port": 80, "name": "http"}, {"port": 443, "name": "tcp-tls"}),
        slice_of(at(), ports=[{"name": "tcp-tls", "port": 8443}, {"name": "http", "port": 8080}]),
    )
    assert [(found_port.number, found_port.target, found_port.endpoints[0].port) for found_port in found.ports] == [
        (80, 8080, 8080),
        (443, 8443, 8443),
    ]


@pytest.mark.parametrize(("target", "number"), [("web", 14001), (9000, 9000), ("9001", 9001), (None, 80)])
def test_without_endpoints_the_selected_pods_are_the_endpoints(target: Any, number: int) -> None:
    found = port(service({"port": 80, "targetPort": target}), pod())
    assert found.endpoints == (Endpoint("10.42.0.1", number),)
    assert found.target == number


def test_a_selected_pod_that_is_not_ready_is_no_endpoint() -> None:
    assert port(service(), pod(conditions=[{"type": "Ready", "status": "False"}])).endpoints == ()


@pytest.mark.parametrize("reference", [{}, {"targetRef": {"kind": "Pod", "name": "shop-0"}}])
def test_the_pod_of_an_endpoint_is_found_by_reference_or_address(reference: dict[str, Any]) -> None:
    assert shop(service(selector={}), slice_of(at(**reference)), pod()).identities == (Identity("shop", "seller"),)


def test_the_identity_of_a_pod_counts_before_the_pod_is_ready() -> None:
    for empty in (slice_of(), slice_of(at(conditions={"ready": False}))):
        assert shop(service(), empty, pod()).identities == (Identity("shop", "seller"),)


def test_a_pod_on_the_host_network_is_not_found_by_its_address() -> None:
    found = shop(service(selector={}), slice_of(at()), pod(spec={"hostNetwork": True}))
    assert found.identities == ()


@pytest.mark.parametrize(
    ("port_fields", "protocol"),
    [
        ({}, Protocol.HTTP),
        ({"name": "http"}, Protocol.HTTP),
        ({"name": "http-api"}, Protocol.HTTP),
        ({"name": "grpc-api"}, Protocol.HTTP),
        ({"name": "web"}, Protocol.HTTP),
        ({"name": "tcp"}, Protocol.TCP),
        ({"name": "tcp-server-first-db"}, Protocol.TCP),
        ({"name": "https-api"}, Protocol.TCP),
        ({"appProtocol": "http", "name": "tcp-x"}, Protocol.HTTP),
        ({"appProtocol": "grpc"}, Protocol.HTTP),
        ({"appProtocol": "kubernetes.io/h2c"}, Protocol.HTTP),
        ({"appProtocol": "tcp", "name": "http-x"}, Protocol.TCP),
        ({"appProtocol": "https"}, Protocol.TCP),
        ({"appProtocol": "mysql"}, Protocol.TCP),
    ],
)
def test_the_protocol_depends_on_app_protocol_and_port_name(port_fields: dict[str, str], protocol: Protocol) -> None:
    assert port(service({"port": 80, **port_fields})).protocol is protocol


def test_udp_ports_are_left_out() -> None:
    assert port(service({"port": 80}, {"port": 80, "protocol": "UDP"})).number == 80


def test_a_headless_service_has_no_address() -> None:
    assert shop(service(clusterIP="None", clusterIPs=["None"])).addresses == ()


def test_an_external_name_service_is_left_out() -> None:
    assert mesh_of(namespace(), service(type="ExternalName")).services == ()


def test_the_mesh_config_has_the_settings() -> None:
    spec = {
        "traffic": {"enablePermissiveTrafficPolicyMode": False, "enableEgress": True},
        "observability": {"osmLogLevel": "debug"},
        "sidecar": {"logLevel": "warning", "maxDataPlaneConnections": 7},
        "certificate": {"serviceCertValidityDuration": "1h30m"},
    }
    assert mesh_of(mesh_config(spec)).settings == Settings(
        permissive=False,
        egress=True,
        log_level="debug",
        max_data_plane_connections=7,
        certificate_validity=5400.0,
        sidecar_log_level="warning",
    )


def test_unset_fields_of_the_mesh_config_have_defaults() -> None:
    assert mesh_of(mesh_config({})).settings == Settings() == mesh_of().settings


def test_the_order_of_objects_does_not_matter() -> None:
    parts = [namespace(), service(), slice_of(at()), pod(), pod("shop-1", ip="10.42.0.2"), mesh_config({})]
    for seed in range(5):
        assert mesh_of(*random.Random(seed).sample(parts, len(parts))) == mesh_of(*parts)
