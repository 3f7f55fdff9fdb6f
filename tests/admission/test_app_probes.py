import pytest

from osm_probes.xds.app_probes import ProbeKind, ProbeScheme, RewrittenProbe
from tests.admission.pods import Json, container, injection, patched, pod

PORTS = [{"name": "web", "containerPort": 8080}, {"containerPort": 9090}]


def http(**parts: object) -> Json:
    return {"httpGet": {"path": "/ok", "port": 8080} | parts}


def probed(probe: Json, *, kind: str = "livenessProbe") -> tuple[Json, tuple[RewrittenProbe, ...]]:
    """The probe in the patched pod, and the rewritten probes that the sidecar serves."""
    parts: Json = {"ports": PORTS, kind: probe}
    original = pod(container(**parts))
    return patched(original)["spec"]["containers"][0][kind], injection(original).app_probes


@pytest.mark.parametrize(
    ("kind", "port", "path"),
    [
        ("livenessProbe", 15901, "/osm-liveness-probe/app"),
        ("readinessProbe", 15902, "/osm-readiness-probe/app"),
        ("startupProbe", 15903, "/osm-startup-probe/app"),
    ],
)
def test_each_kind_of_probe_has_its_own_port(kind: str, port: int, path: str) -> None:
    seen, served = probed(http(), kind=kind)
    assert seen == {"httpGet": {"path": path, "port": port, "scheme": "HTTP"}}
    assert served == (RewrittenProbe(ProbeKind(kind.removesuffix("Probe")), "app", ProbeScheme.HTTP, 8080, "/ok"),)


def test_headers_timings_and_thresholds_are_kept() -> None:
    kept = {"periodSeconds": 3, "timeoutSeconds": 2, "failureThreshold": 9, "initialDelaySeconds": 1}
    headers = [{"name": "Host", "value": "bookstore"}]
    seen, _ = probed(http(httpHeaders=headers) | kept)
    assert (
        seen
        == {"httpGet": {"path": "/osm-liveness-probe/app", "port": 15901, "scheme": "HTTP", "httpHeaders": headers}}
        | kept
    )


def test_the_kubelet_sends_an_https_probe_over_http_and_the_sidecar_forwards_it_over_https() -> None:
    seen, (served,) = probed(http(scheme="HTTPS"))
    assert seen["httpGet"]["scheme"] == "HTTP"
    assert served.scheme is ProbeScheme.HTTPS


def test_a_probe_without_a_path_requests_the_root() -> None:
    seen, (served,) = probed({"httpGet": {"port": 8080}})
    assert seen["httpGet"]["path"] == "/osm-liveness-probe/app"
    assert served.path == "/"


@pytest.mark.parametrize(("port", "number"), [("web", 8080), ("8081", 8081), (8082, 8082)])
def test_ports_are_resolved_as_by_the_kubelet(port: int | str, number: int) -> None:
    for probe in ({"httpGet": {"port": port}}, {"tcpSocket": {"port": port}}):
        _, (served,) = probed(probe)
        assert served.port == number


def test_a_tcp_probe_becomes_an_http_probe_with_the_port_in_its_path() -> None:
    seen, served = probed({"tcpSocket": {"port": "web"}, "periodSeconds": 7})
    assert seen == {"httpGet": {"path": "/osm-healthcheck/8080", "port": 15904, "scheme": "HTTP"}, "periodSeconds": 7}
    assert served == (RewrittenProbe(ProbeKind.LIVENESS, "app", ProbeScheme.TCP, 8080),)


def test_grpc_probes_stay_grpc_with_one_sidecar_port_for_each_probed_port() -> None:
    def grpc(port: int, service: str = "") -> Json:
        return {"grpc": {"port": port, "service": service}}

    original = pod(
        container("a", livenessProbe=grpc(50051), readinessProbe=grpc(50051, "books")),
        container("b", livenessProbe=grpc(50052, "shelf")),
    )
    a, b, *_ = patched(original)["spec"]["containers"]
    first, second = (probe.sidecar_port for probe in injection(original).app_probes[::2])
    assert first != second
    assert a["livenessProbe"] == grpc(first)
    assert a["readinessProbe"] == grpc(first, "books")
    assert b["livenessProbe"] == grpc(second, "shelf")
    rules = patched(original)["spec"]["initContainers"][0]["args"][1]
    assert f"-A OSM_PROXY_INBOUND -p tcp --dport {first} -j RETURN" in rules
    assert f"-A OSM_PROXY_INBOUND -p tcp --dport {second} -j RETURN" in rules


@pytest.mark.parametrize(
    "probe",
    [
        pytest.param({"exec": {"command": ["true"]}}, id="exec"),
        pytest.param(http(host="192.0.2.1"), id="HTTP to another host"),
        pytest.param({"tcpSocket": {"port": 80, "host": "192.0.2.1"}}, id="TCP to another host"),
        pytest.param(http(port="admin"), id="unknown port name"),
        pytest.param(http(port="70000"), id="port number out of range"),
        pytest.param({"tcpSocket": {"port": "²"}}, id="non-decimal digit"),
    ],
)
def test_a_probe_that_cannot_be_moved_is_not_changed(probe: Json) -> None:
    seen, served = probed(probe)
    assert seen == probe
    assert served == ()


def test_a_port_name_of_another_container_is_not_found() -> None:
    other = container("other", ports=[{"name": "admin", "containerPort": 9999}])
    original = pod(container(livenessProbe=http(port="admin")), other)
    assert injection(original).app_probes == ()


def test_each_container_has_its_own_probe_path() -> None:
    original = pod(container("a", livenessProbe=http()), container("b", livenessProbe=http()))
    paths = [found["livenessProbe"]["httpGet"]["path"] for found in patched(original)["spec"]["containers"][:2]]
    assert paths == ["/osm-liveness-probe/a", "/osm-liveness-probe/b"]


def test_probes_of_native_sidecars_are_moved_in_their_own_container() -> None:
    log = container("log", restartPolicy="Always", startupProbe=http(), readinessProbe={"tcpSocket": {"port": 9}})
    after = patched(pod(container(), initContainers=[container("migrate"), log]))
    moved = next(found for found in after["spec"]["initContainers"] if found["name"] == "log")
    assert moved["startupProbe"]["httpGet"] == {"path": "/osm-startup-probe/log", "port": 15903, "scheme": "HTTP"}
    assert moved["readinessProbe"]["httpGet"]["port"] == 15904
