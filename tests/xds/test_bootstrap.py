import json
from pathlib import Path
from typing import Any

import pytest

from osm_probes.mesh.identity import SIDECAR, ProxyName
from osm_probes.mesh.names import controller_server_name
from osm_probes.xds.app_probes import ProbeKind, ProbeScheme, RewrittenProbe
from osm_probes.xds.bootstrap import AdsMode, AdsTarget, build_bootstrap
from tests.builders import identity, secrets
from tests.xds.envoy_checks import validation_error

PROXY = ProxyName("00000000-0000-0000-0000-000000000001", SIDECAR, identity("bookbuyer"))
SECRETS = secrets("bookbuyer")
PROBES = (
    RewrittenProbe(ProbeKind.LIVENESS, "app", ProbeScheme.HTTP, 8080, "/live?deep=1"),
    RewrittenProbe(ProbeKind.LIVENESS, "helper", ProbeScheme.HTTP, 8081, "healthz"),
    RewrittenProbe(ProbeKind.READINESS, "app", ProbeScheme.HTTPS, 8443, "/ready"),
    RewrittenProbe(ProbeKind.STARTUP, "app", ProbeScheme.TCP, 5432),
    RewrittenProbe(ProbeKind.READINESS, "helper", ProbeScheme.TCP, 5432),
    RewrittenProbe(ProbeKind.LIVENESS, "grpc", ProbeScheme.GRPC, 9000),
    RewrittenProbe(ProbeKind.READINESS, "grpc", ProbeScheme.GRPC, 9000),
    RewrittenProbe(ProbeKind.READINESS, "other", ProbeScheme.GRPC, 9001, grpc_index=1),
)


def build(host: str = "127.0.0.1", *, mode: AdsMode = AdsMode.INCREMENTAL, ipv6: bool = False) -> bytes:
    ads = AdsTarget(host, 15128, controller_server_name("osm-system"), mode)
    return build_bootstrap(
        PROXY,
        trust_domain="cluster.local",
        ads=ads,
        secrets=SECRETS,
        app_probes=PROBES,
        ipv6=ipv6,
    )


@pytest.mark.envoy
@pytest.mark.parametrize("mode", AdsMode)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "osm-controller.osm-system.svc"])
def test_envoy_accepts_the_bootstrap(envoy: Path, tmp_path: Path, mode: AdsMode, host: str) -> None:
    assert validation_error(envoy, build(host, mode=mode, ipv6=":" in host), folder=tmp_path) == ""


@pytest.mark.envoy
def test_envoy_rejects_a_bootstrap_without_its_ads_cluster(envoy: Path, tmp_path: Path) -> None:
    document = json.loads(build())
    del document["static_resources"]["clusters"][0]
    assert "osm-controller" in validation_error(envoy, json.dumps(document).encode(), folder=tmp_path)


def test_the_node_id_is_the_common_name_of_the_certificate() -> None:
    assert json.loads(build())["node"]["id"] == (
        "00000000-0000-0000-0000-000000000001.sidecar.bookbuyer.bookbuyer.cluster.local"
    )


@pytest.mark.parametrize(
    ("host", "kind"), [("127.0.0.1", "STATIC"), ("::1", "STATIC"), ("osm-controller", "STRICT_DNS")]
)
def test_only_a_dns_name_is_resolved(host: str, kind: str) -> None:
    cluster = json.loads(build(host))["static_resources"]["clusters"][0]
    # JSON omits STATIC, which is the default.
    assert cluster.get("type", "STATIC") == kind


def test_each_probed_port_is_one_cluster() -> None:
    names = [cluster["name"] for cluster in json.loads(build())["static_resources"]["clusters"]]
    assert names == [
        "osm-controller",
        "probe-grpc-9000",
        "probe-grpc-9001",
        "probe-http-8080",
        "probe-http-8081",
        "probe-https-8443",
        "probe-tcp-5432",
    ]


@pytest.mark.parametrize(("ipv6", "addresses"), [(False, ["0.0.0.0"]), (True, ["0.0.0.0", "::"])])
def test_the_probe_ports_are_opened_on_all_addresses(ipv6: bool, addresses: list[str]) -> None:  # noqa: FBT001 - a table's column
    listeners = json.loads(build(ipv6=ipv6))["static_resources"]["listeners"]
    opened = [
        found["address"] for listener in listeners for found in (listener, *listener.get("additional_addresses", ()))
    ]
    found = [(address["socket_address"]["address"], address["socket_address"]["port_value"]) for address in opened]
    assert found == [(address, port) for port in (15901, 15902, 15904, 15905, 15906) for address in addresses]


def test_with_ipv6_a_probed_application_may_listen_on_ipv6_only() -> None:
    _, *clusters = json.loads(build(ipv6=True))["static_resources"]["clusters"]
    for cluster in clusters:
        assert [address["address"] for address in addresses_of(cluster)] == ["127.0.0.1", "::1"]
        assert len({address["port_value"] for address in addresses_of(cluster)}) == 1


def addresses_of(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    """The addresses of a cluster's endpoints, in the order in which Envoy tries them."""
    endpoints = [
        found["endpoint"] for part in cluster["load_assignment"]["endpoints"] for found in part["lb_endpoints"]
    ]
    found = [address for endpoint in endpoints for address in (endpoint, *endpoint.get("additional_addresses", ()))]
    return [address["address"]["socket_address"] for address in found]


def test_the_admin_port_is_on_loopback_alone() -> None:
    admin = json.loads(build())["admin"]["address"]["socket_address"]
    assert (admin["address"], admin["port_value"]) == ("127.0.0.1", 15000)


def test_equal_input_gives_equal_bytes() -> None:
    assert build() == build()
