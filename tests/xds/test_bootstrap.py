import json
from pathlib import Path

import pytest

from osm_probes.mesh.identity import SIDECAR, ProxyName
from osm_probes.xds.app_probes import ProbeKind, ProbeScheme, RewrittenProbe
from osm_probes.xds.bootstrap import AdsMode, AdsTarget, bootstrap
from osm_probes.xds.names import controller_name
from tests.builders import identity, secrets
from tests.xds.envoy_checks import complaint

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
    RewrittenProbe(ProbeKind.READINESS, "other", ProbeScheme.GRPC, 9001, place=1),
)


def made(host: str = "127.0.0.1", *, mode: AdsMode = AdsMode.INCREMENTAL, probe_address: str = "0.0.0.0") -> bytes:
    ads = AdsTarget(host, 15128, controller_name("osm-system"), mode)
    return bootstrap(
        PROXY, trust_domain="cluster.local", ads=ads, secrets=SECRETS, probes=PROBES, probe_address=probe_address
    )


@pytest.mark.envoy
@pytest.mark.parametrize("mode", AdsMode)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "osm-controller.osm-system.svc"])
def test_envoy_takes_the_bootstrap(envoy: Path, tmp_path: Path, mode: AdsMode, host: str) -> None:
    assert complaint(envoy, made(host, mode=mode), folder=tmp_path) == ""


@pytest.mark.envoy
def test_envoy_refuses_a_bootstrap_without_its_ads_cluster(envoy: Path, tmp_path: Path) -> None:
    document = json.loads(made())
    del document["static_resources"]["clusters"][0]
    assert "osm-controller" in complaint(envoy, json.dumps(document).encode(), folder=tmp_path)


def test_a_proxy_says_its_certificates_name() -> None:
    assert json.loads(made())["node"]["id"] == (
        "00000000-0000-0000-0000-000000000001.sidecar.bookbuyer.bookbuyer.cluster.local"
    )


@pytest.mark.parametrize(
    ("host", "kind"), [("127.0.0.1", "STATIC"), ("::1", "STATIC"), ("osm-controller", "STRICT_DNS")]
)
def test_only_a_name_is_looked_up(host: str, kind: str) -> None:
    cluster = json.loads(made(host))["static_resources"]["clusters"][0]
    # STATIC is the default, which JSON leaves out.
    assert cluster.get("type", "STATIC") == kind


def test_each_probed_port_is_one_cluster() -> None:
    names = [each["name"] for each in json.loads(made())["static_resources"]["clusters"]]
    assert names == [
        "osm-controller",
        "probe-grpc-9000",
        "probe-grpc-9001",
        "probe-http-8080",
        "probe-http-8081",
        "probe-https-8443",
        "probe-tcp-5432",
    ]


def test_the_kubelets_ports_listen_on_the_pods_address() -> None:
    listeners = json.loads(made(probe_address="::"))["static_resources"]["listeners"]
    addresses = [each["address"]["socket_address"] for each in listeners]
    assert [(each["address"], each["port_value"]) for each in addresses] == [
        ("::", port) for port in (15901, 15902, 15903 + 1, 15905, 15906)
    ]


def test_equal_input_gives_equal_bytes() -> None:
    assert made() == made()
