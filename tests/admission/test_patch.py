import copy
from dataclasses import replace

import jsonpatch
import pytest

from osm_probes.admission.annotations import BadAnnotationError
from osm_probes.admission.options import InjectionOptions
from osm_probes.admission.patch import NameTakenError, RulesTooLongError
from osm_probes.mesh.identity import Identity, ProxyName
from osm_probes.mesh.labels import METRICS
from osm_probes.mesh.mesh import NamespaceMetadata
from tests.admission.pods import ENROLLED, OPTIONS, UUID, Json, annotated, container, encoded, injection, patched, pod

WITH_METRICS = NamespaceMetadata(ENROLLED.labels, {**ENROLLED.annotations, METRICS: "enabled"})
NATIVE = replace(OPTIONS, native_sidecar=True)

REALISTIC_PODS = [
    pytest.param(pod(), id="one container and nothing else"),
    pytest.param({"metadata": {}, "spec": {"containers": [container()]}}, id="no name"),
    pytest.param(pod(volumes=None, initContainers=None, metadata={"labels": None, "annotations": None}), id="nulls"),
    pytest.param(pod(volumes=[], initContainers=[], metadata={"labels": {}, "annotations": {}}), id="empty lists"),
    pytest.param(
        pod(
            container(
                "web", ports=[{"name": "http", "containerPort": 80}], readinessProbe={"httpGet": {"port": "http"}}
            ),
            container("cache", livenessProbe={"tcpSocket": {"port": 6379}}),
            container("job", startupProbe={"exec": {"command": ["cat", "/ready"]}}),
            serviceAccountName="bookstore",
            initContainers=[container("migrate"), container("warm-up")],
            volumes=[{"name": "data", "emptyDir": {}}, {"name": "token", "projected": {"sources": []}}],
            metadata={
                "generateName": "bookstore-6b5c-",
                "labels": {"app": "bookstore", "example.com/a~b": "c"},
                "annotations": {"example.com/odd~name": "~1", "prometheus.io/scrape": "false"},
            },
        ),
        id="a deployment's pod",
    ),
    pytest.param(
        pod(
            container(securityContext={"runAsUser": 1000, "capabilities": {"drop": ["ALL"]}}),
            securityContext={"runAsNonRoot": True, "fsGroup": 2000, "seccompProfile": {"type": "RuntimeDefault"}},
            imagePullSecrets=[{"name": "registry"}],
            priority=0,
            nodeSelector={"kubernetes.io/os": "linux"},
        ),
        id="a restricted pod",
    ),
    pytest.param(
        pod(
            container("app", lifecycle={"preStop": {"exec": {"command": ["sleep", "5"]}}}),
            initContainers=[container("setup"), container("log", restartPolicy="Always")],
        ),
        id="a native sidecar among init containers",
    ),
]


def without_sidecar(after: Json, before: Json) -> Json:
    """The patched pod without the parts of its sidecar."""
    rest = copy.deepcopy(after)
    spec = rest["spec"]
    for name in ("containers", "initContainers"):
        kept = [found for found in spec[name] if found["name"] not in ("envoy", "osm-init")]
        spec[name] = kept or before["spec"].get(name)
    kept = [volume for volume in spec["volumes"] if volume["name"] != "envoy-bootstrap-config-volume"]
    spec["volumes"] = kept or before["spec"].get("volumes")
    del rest["metadata"]["labels"]["osm-proxy-uuid"]
    rest["metadata"]["labels"] = rest["metadata"]["labels"] or before["metadata"].get("labels")
    for part, name in (("spec", "initContainers"), ("spec", "volumes"), ("metadata", "labels")):
        if name not in before[part]:
            del rest[part][name]
    # Rewritten probes are tested in test_app_probes.py.
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        for found, original in zip(spec["containers"], before["spec"]["containers"], strict=True):
            if kind in found:
                found[kind] = original[kind]
    return rest


@pytest.mark.parametrize("before", REALISTIC_PODS)
@pytest.mark.parametrize("options", [OPTIONS, NATIVE], ids=["container", "native"])
def test_a_patch_adds_a_sidecar_and_changes_nothing_else(before: Json, options: InjectionOptions) -> None:
    after = patched(before, options=options)
    containers = [found["name"] for found in (*after["spec"]["containers"], *after["spec"]["initContainers"])]
    assert containers.count("envoy") == containers.count("osm-init") == 1
    assert after["metadata"]["labels"]["osm-proxy-uuid"] == UUID
    assert without_sidecar(after, before) == before


@pytest.mark.parametrize("before", REALISTIC_PODS)
def test_the_same_pod_gets_the_same_patch(before: Json) -> None:
    assert injection(before) == injection(copy.deepcopy(before))


def test_the_added_containers_and_volume_are_complete() -> None:
    after = patched(pod(serviceAccountName="bookstore"))
    assert after["spec"]["volumes"] == [
        {"name": "envoy-bootstrap-config-volume", "secret": {"secretName": f"envoy-bootstrap-config-{UUID}"}}
    ]
    (init,) = after["spec"]["initContainers"]
    script = init.pop("args")[1]
    assert init == {
        "name": "osm-init",
        "image": "init:1",
        "command": ["/bin/sh"],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "runAsUser": 0,
            "runAsNonRoot": False,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
        },
    }
    assert "\niptables-restore --noflush <<'EOF'\n*nat\n" in script
    assert "COMMIT\nEOF\nip6tables-restore --noflush <<'EOF' && exit\n*nat\n" in script
    envoy = after["spec"]["containers"][-1]
    assert [variable["name"] for variable in envoy.pop("env")] == [
        "POD_UID",
        "POD_NAME",
        "POD_NAMESPACE",
        "POD_IP",
        "SERVICE_ACCOUNT",
    ]
    arguments = "--log-level error --config-path /etc/envoy/bootstrap.yaml --service-cluster bookstore.bookstore"
    assert envoy == {
        "name": "envoy",
        "image": "envoy:1",
        "command": ["envoy"],
        "args": [*arguments.split(), "--concurrency", "2", "--disable-hot-restart"],
        "ports": [
            {"name": "proxy-admin", "containerPort": 15000},
            {"name": "proxy-inbound", "containerPort": 15003},
            {"name": "proxy-metrics", "containerPort": 15010},
        ],
        "volumeMounts": [{"name": "envoy-bootstrap-config-volume", "mountPath": "/etc/envoy", "readOnly": True}],
        "startupProbe": {"tcpSocket": {"port": 15010}, "periodSeconds": 1, "failureThreshold": 600},
        "securityContext": {
            "runAsUser": 1500,
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def test_options_apply_to_both_containers() -> None:
    resources = {"requests": {"cpu": "10m"}, "limits": {"memory": "128Mi"}}
    options = replace(OPTIONS, pull_policy="IfNotPresent", resources=resources, log_level="debug")
    after = patched(pod(), options=options)
    for found in (after["spec"]["containers"][-1], after["spec"]["initContainers"][-1]):
        assert found["imagePullPolicy"] == "IfNotPresent"
        assert found["resources"] == resources
    assert after["spec"]["containers"][-1]["args"][:2] == ["--log-level", "debug"]


def test_the_redirect_is_installed_after_the_pods_own_init_containers() -> None:
    after = patched(pod(initContainers=[container("migrate")]))
    assert [found["name"] for found in after["spec"]["initContainers"]] == ["migrate", "osm-init"]
    assert [found["name"] for found in after["spec"]["containers"]] == ["app", "envoy"]


@pytest.mark.parametrize(
    ("options", "others"),
    [(NATIVE, [container("migrate")]), (OPTIONS, [container("log", restartPolicy="Always")]), (NATIVE, [])],
    ids=["option", "the pod has its own native sidecars", "no init containers"],
)
def test_a_native_sidecar_starts_before_the_pods_own_init_containers(
    options: InjectionOptions, others: list[Json]
) -> None:
    after = patched(pod(initContainers=others), options=options)
    inits = after["spec"]["initContainers"]
    assert [found["name"] for found in inits] == ["osm-init", "envoy", *(found["name"] for found in others)]
    assert inits[1]["restartPolicy"] == "Always"
    assert [found["name"] for found in after["spec"]["containers"]] == ["app"]


def test_ports_of_served_probes_have_names() -> None:
    probe = {"httpGet": {"port": 80}}
    after = patched(pod(container(livenessProbe=probe, readinessProbe={"tcpSocket": {"port": 80}}, startupProbe=probe)))
    assert after["spec"]["containers"][-1]["ports"][3:] == [
        {"name": "liveness-port", "containerPort": 15901},
        {"name": "startup-port", "containerPort": 15903},
    ]


def test_prometheus_scrapes_the_pods_of_a_namespace_with_metrics() -> None:
    expected = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "15010",
        "prometheus.io/path": "/stats/prometheus",
    }
    assert patched(pod(), metadata=WITH_METRICS)["metadata"]["annotations"] == expected
    own = {"a/b~c": "d", "prometheus.io/scrape": "false"}
    assert (
        patched(pod(metadata={"annotations": own}), metadata=WITH_METRICS)["metadata"]["annotations"] == own | expected
    )
    assert "annotations" not in patched(pod())["metadata"]


@pytest.mark.parametrize(
    ("family", "excluded", "included"), [(0, "10.1.0.0/16", "10.0.0.0/8"), (1, "fd00:1::/32", "fd00::/8")]
)
def test_annotations_change_the_redirect(family: int, excluded: str, included: str) -> None:
    after = patched(
        annotated(
            inbound_port_exclusion_list="22",
            outbound_port_exclusion_list="6379, 3306",
            outbound_ip_range_exclusion_list="10.1.2.3/16, fd00:1::2/32",
            outbound_ip_range_inclusion_list="fd00::/8, 10.0.0.0/8",
        )
    )
    rules = after["spec"]["initContainers"][0]["args"][1].split("COMMIT")[family].splitlines()
    inbound = [rule for rule in rules if rule.startswith("-A OSM_PROXY_INBOUND")]
    assert inbound[-2:] == [
        "-A OSM_PROXY_INBOUND -p tcp --dport 22 -j RETURN",
        "-A OSM_PROXY_INBOUND -p tcp -j OSM_PROXY_IN_REDIRECT",
    ]
    assert [rule for rule in rules if rule.startswith("-A OSM_PROXY_OUTBOUND")][-4:] == [
        f"-A OSM_PROXY_OUTBOUND -d {excluded} -j RETURN",
        "-A OSM_PROXY_OUTBOUND -p tcp --dport 6379 -j RETURN",
        "-A OSM_PROXY_OUTBOUND -p tcp --dport 3306 -j RETURN",
        f"-A OSM_PROXY_OUTBOUND -d {included} -j OSM_PROXY_OUT_REDIRECT",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "inbound_port_exclusion_list",
        "outbound_port_exclusion_list",
        "outbound_ip_range_exclusion_list",
        "outbound_ip_range_inclusion_list",
    ],
)
def test_an_invalid_exclusion_is_an_error_that_names_the_annotation(name: str) -> None:
    with pytest.raises(BadAnnotationError, match=f"openservicemesh.io/{name.replace('_', '-')} has 'x'"):
        injection(annotated(**{name: "x"}))


def test_an_invalid_metrics_annotation_is_an_error() -> None:
    with pytest.raises(BadAnnotationError, match=r"openservicemesh\.io/metrics of namespace bookstore is 'x'"):
        injection(pod(), metadata=NamespaceMetadata(ENROLLED.labels, {METRICS: "x"}))


@pytest.mark.parametrize(
    "original",
    [
        pod(container("envoy")),
        pod(initContainers=[container("osm-init")]),
        pod(volumes=[{"name": "envoy-bootstrap-config-volume"}]),
    ],
)
def test_a_pod_that_uses_the_sidecars_names_is_rejected(original: Json) -> None:
    with pytest.raises(NameTakenError, match="which its sidecar needs: rename it"):
        injection(original)


def test_an_injection_has_the_name_of_its_proxy_and_pod() -> None:
    injected = injection(pod(serviceAccountName="robot"))
    assert injected.proxy == ProxyName(UUID, "sidecar", Identity("bookstore", "robot"))
    assert (injected.namespace, injected.pod, injected.secret) == (
        "bookstore",
        "bookstore-1",
        f"envoy-bootstrap-config-{UUID}",
    )
    nameless = injection(pod(metadata={"name": None, "generateName": "bookstore-6b5c-"}))
    assert nameless.pod == "bookstore-6b5c-"
    assert nameless.proxy.identity.service_account == "default"


def test_a_copied_uuid_label_is_replaced() -> None:
    assert patched(pod(metadata={"labels": {"osm-proxy-uuid": "old"}}))["metadata"]["labels"] == {
        "osm-proxy-uuid": UUID
    }


def test_the_patch_applies_to_a_pod_with_the_defaults_of_the_api_server() -> None:
    before = pod(
        container(
            terminationMessagePath="/dev/termination-log", resources={}, volumeMounts=[{"name": "kube-api-access"}]
        ),
        volumes=[{"name": "kube-api-access"}],
        serviceAccount="bookstore",
        tolerations=[{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}],
    ) | {"apiVersion": "v1", "kind": "Pod", "status": {}}
    operations = encoded(list(injection(before).operations)).decode()
    assert without_sidecar(jsonpatch.apply_patch(before, operations), before) == before


def test_rules_that_do_not_fit_into_an_argument_of_a_command_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    original = annotated(outbound_port_exclusion_list=",".join(str(port) for port in range(1, 501)))
    assert "osm-init" in str(injection(original).operations)
    monkeypatch.setattr("osm_probes.admission.patch._ARGUMENT_LIMIT", 10_000)
    with pytest.raises(RulesTooLongError, match=r"make redirect rules of \d+ bytes; 10000 are possible"):
        injection(original)
