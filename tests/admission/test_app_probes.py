import pytest

from osm_probes.xds.app_probes import ProbeKind, ProbeScheme, RewrittenProbe
from tests.admission.pods import Json, container, injection, patched, pod

PORTS = [{"name": "web", "containerPort": 8080}, {"containerPort": 9090}]


def http(**parts: object) -> Json:
    return {"httpGet": {"path": "/ok", "port": 8080} | parts}


def probed(probe: Json, *, kind: str = "livenessProbe") -> tuple[Json, tuple[RewrittenProbe, ...]]:
    """What the kubelet sees of this probe, and what the sidecar serves for it."""
    parts: Json = {"ports": PORTS, kind: probe}
    original = pod(container(**parts))
    return patched(original)["spec"]["containers"][0][kind], injection(original).probes


@pytest.mark.parametrize(
    ("kind", "port", "path"),
    [
        ("livenessProbe", 15901, "/osm-liveness-probe/app"),
        ("readinessProbe", 15902, "/osm-readiness-probe/app"),
        ("startupProbe", 15903, "/osm-startup-probe/app"),
    ],
)
def test_each_kind_has_its_own_port(kind: str, port: int, path: str) -> None:
    seen, served = probed(http(), kind=kind)
    assert seen == {"httpGet": {"path": path, "port": port, "scheme": "HTTP"}}
    assert served == (RewrittenProbe(ProbeKind(kind.removesuffix("Probe")), "app", ProbeScheme.HTTP, 8080, "/ok"),)


def test_headers_timings_and_thresholds_stay() -> None:
    kept = {"periodSeconds": 3, "timeoutSeconds": 2, "failureThreshold": 9, "initialDelaySeconds": 1}
    headers = [{"name": "Host", "value": "bookstore"}]
    seen, _ = probed(http(httpHeaders=headers) | kept)
    assert (
        seen
        == {"httpGet": {"path": "/osm-liveness-probe/app", "port": 15901, "scheme": "HTTP", "httpHeaders": headers}}
        | kept
    )


def test_an_https_probe_is_asked_in_http_and_passed_on_in_https() -> None:
    seen, (served,) = probed(http(scheme="HTTPS"))
    assert seen["httpGet"]["scheme"] == "HTTP"
    assert served.scheme is ProbeScheme.HTTPS


def test_a_probe_without_a_path_asks_for_the_root() -> None:
    seen, (served,) = probed({"httpGet": {"port": 8080}})
    assert seen["httpGet"]["path"] == "/osm-liveness-probe/app"
    assert served.path == "/"


@pytest.mark.parametrize(("stated", "number"), [("web", 8080), ("8081", 8081), (8082, 8082)])
def test_ports_are_looked_up_as_the_kubelet_does(stated: int | str, number: int) -> None:
    for probe in ({"httpGet": {"port": stated}}, {"tcpSocket": {"port": stated}}):
        _, (served,) = probed(probe)
        assert served.port == number


def test_a_tcp_probe_becomes_one_of_http_that_names_its_port() -> None:
    seen, served = probed({"tcpSocket": {"port": "web"}, "periodSeconds": 7})
    assert seen == {"httpGet": {"path": "/osm-healthcheck/8080", "port": 15904, "scheme": "HTTP"}, "periodSeconds": 7}
    assert served == (RewrittenProbe(ProbeKind.LIVENESS, "app", ProbeScheme.TCP, 8080),)


def test_grpc_probes_stay_grpc_one_listening_port_for_each_port() -> None:
    def grpc(port: int, service: str = "") -> Json:
        return {"grpc": {"port": port, "service": service}}

    original = pod(
        container("a", livenessProbe=grpc(50051), readinessProbe=grpc(50051, "books")),
        container("b", livenessProbe=grpc(50052, "shelf")),
    )
    a, b, *_ = patched(original)["spec"]["containers"]
    first, second = (probe.listening_port for probe in injection(original).probes[::2])
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
        pytest.param({"exec": {"command": ["true"]}}, id="exec runs in the container"),
        pytest.param(http(host="192.0.2.1"), id="another host is asked"),
        pytest.param({"tcpSocket": {"port": 80, "host": "192.0.2.1"}}, id="another host is dialled"),
        pytest.param(http(port="admin"), id="no port of this name"),
        pytest.param(http(port="70000"), id="no port of this number"),
        pytest.param({"tcpSocket": {"port": "²"}}, id="a digit that is no number"),
    ],
)
def test_is_left_alone(probe: Json) -> None:
    seen, served = probed(probe)
    assert seen == probe
    assert served == ()


def test_containers_do_not_share_names_of_ports() -> None:
    other = container("other", ports=[{"name": "admin", "containerPort": 9999}])
    original = pod(container(livenessProbe=http(port="admin")), other)
    assert injection(original).probes == ()


def test_several_containers_have_paths_of_their_own() -> None:
    original = pod(container("a", livenessProbe=http()), container("b", livenessProbe=http()))
    paths = [each["livenessProbe"]["httpGet"]["path"] for each in patched(original)["spec"]["containers"][:2]]
    assert paths == ["/osm-liveness-probe/a", "/osm-liveness-probe/b"]


def test_probes_of_native_sidecars_are_moved_and_stay_with_their_container() -> None:
    log = container("log", restartPolicy="Always", startupProbe=http(), readinessProbe={"tcpSocket": {"port": 9}})
    after = patched(pod(container(), initContainers=[container("migrate"), log]))
    moved = next(each for each in after["spec"]["initContainers"] if each["name"] == "log")
    assert moved["startupProbe"]["httpGet"] == {"path": "/osm-startup-probe/log", "port": 15903, "scheme": "HTTP"}
    assert moved["readinessProbe"]["httpGet"]["port"] == 15904
