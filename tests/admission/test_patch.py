import copy
from dataclasses import replace

import jsonpatch
import pytest

from osm_probes.admission.annotations import BadAnnotationError
from osm_probes.admission.namespaces import NamespaceFacts
from osm_probes.admission.options import InjectionOptions
from osm_probes.admission.patch import NameTakenError
from osm_probes.mesh.identity import Identity, ProxyName
from osm_probes.mesh.labels import METRICS
from tests.admission.pods import ENROLLED, OPTIONS, UUID, Json, annotated, container, encoded, injection, patched, pod

METERED = NamespaceFacts(ENROLLED.labels, {**ENROLLED.annotations, METRICS: "enabled"})
NATIVE = replace(OPTIONS, native_sidecar=True)

REAL_LIFE = [
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


def without_ours(after: Json, before: Json) -> Json:
    """The pod with all taken away that a sidecar is."""
    rest = copy.deepcopy(after)
    spec = rest["spec"]
    for name in ("containers", "initContainers"):
        kept = [each for each in spec[name] if each["name"] not in ("envoy", "osm-init")]
        spec[name] = kept or before["spec"].get(name)
    kept = [each for each in spec["volumes"] if each["name"] != "envoy-bootstrap-config-volume"]
    spec["volumes"] = kept or before["spec"].get("volumes")
    del rest["metadata"]["labels"]["osm-proxy-uuid"]
    rest["metadata"]["labels"] = rest["metadata"]["labels"] or before["metadata"].get("labels")
    for part, name in (("spec", "initContainers"), ("spec", "volumes"), ("metadata", "labels")):
        if name not in before[part]:
            del rest[part][name]
    # Probes have tests of their own.
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        for each, original in zip(spec["containers"], before["spec"]["containers"], strict=True):
            if kind in each:
                each[kind] = original[kind]
    return rest


@pytest.mark.parametrize("before", REAL_LIFE)
@pytest.mark.parametrize("options", [OPTIONS, NATIVE], ids=["after", "native"])
def test_a_patch_adds_a_sidecar_and_changes_nothing_else(before: Json, options: InjectionOptions) -> None:
    after = patched(before, options=options)
    containers = [each["name"] for each in (*after["spec"]["containers"], *after["spec"]["initContainers"])]
    assert containers.count("envoy") == containers.count("osm-init") == 1
    assert after["metadata"]["labels"]["osm-proxy-uuid"] == UUID
    assert without_ours(after, before) == before


@pytest.mark.parametrize("before", REAL_LIFE)
def test_the_same_pod_has_the_same_patch(before: Json) -> None:
    assert injection(before) == injection(copy.deepcopy(before))


def test_the_added_containers_are_these() -> None:
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
        "securityContext": {
            "runAsUser": 0,
            "runAsNonRoot": False,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
        },
    }
    assert script.startswith("iptables-restore --noflush <<'EOF'\n*nat\n")
    assert script.endswith("COMMIT\nEOF\n")
    envoy = after["spec"]["containers"][-1]
    assert [each["name"] for each in envoy.pop("env")] == [
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


def test_options_reach_both_containers() -> None:
    resources = {"requests": {"cpu": "10m"}, "limits": {"memory": "128Mi"}}
    options = replace(OPTIONS, pull_policy="IfNotPresent", resources=resources, log_level="debug")
    after = patched(pod(), options=options)
    for each in (after["spec"]["containers"][-1], after["spec"]["initContainers"][-1]):
        assert each["imagePullPolicy"] == "IfNotPresent"
        assert each["resources"] == resources
    assert after["spec"]["containers"][-1]["args"][:2] == ["--log-level", "debug"]


def test_the_redirect_starts_after_the_pods_own_init_containers() -> None:
    after = patched(pod(initContainers=[container("migrate")]))
    assert [each["name"] for each in after["spec"]["initContainers"]] == ["migrate", "osm-init"]
    assert [each["name"] for each in after["spec"]["containers"]] == ["app", "envoy"]


@pytest.mark.parametrize(
    ("options", "others"),
    [(NATIVE, [container("migrate")]), (OPTIONS, [container("log", restartPolicy="Always")]), (NATIVE, [])],
    ids=["option", "the pod has native sidecars itself", "no init containers"],
)
def test_a_native_sidecar_starts_before_the_pods_own_init_containers(
    options: InjectionOptions, others: list[Json]
) -> None:
    after = patched(pod(initContainers=others), options=options)
    inits = after["spec"]["initContainers"]
    assert [each["name"] for each in inits] == ["osm-init", "envoy", *(each["name"] for each in others)]
    assert inits[1]["restartPolicy"] == "Always"
    assert [each["name"] for each in after["spec"]["containers"]] == ["app"]


def test_probe_ports_are_named_where_probes_are_served() -> None:
    ask = {"httpGet": {"port": 80}}
    after = patched(pod(container(livenessProbe=ask, readinessProbe={"tcpSocket": {"port": 80}}, startupProbe=ask)))
    assert after["spec"]["containers"][-1]["ports"][3:] == [
        {"name": "liveness-port", "containerPort": 15901},
        {"name": "startup-port", "containerPort": 15903},
    ]


def test_a_namespace_with_metrics_has_its_pods_scraped() -> None:
    wanted = {"prometheus.io/scrape": "true", "prometheus.io/port": "15010", "prometheus.io/path": "/stats/prometheus"}
    assert patched(pod(), facts=METERED)["metadata"]["annotations"] == wanted
    own = {"a/b~c": "d", "prometheus.io/scrape": "false"}
    assert patched(pod(metadata={"annotations": own}), facts=METERED)["metadata"]["annotations"] == own | wanted
    assert "annotations" not in patched(pod())["metadata"]


def test_annotations_change_the_redirect() -> None:
    after = patched(
        annotated(
            inbound_port_exclusion_list="22",
            outbound_port_exclusion_list="6379, 3306",
            outbound_ip_range_exclusion_list="10.1.2.3/16",
            outbound_ip_range_inclusion_list="10.0.0.0/8",
        )
    )
    rules = after["spec"]["initContainers"][0]["args"][1].splitlines()
    inbound = [rule for rule in rules if rule.startswith("-A OSM_PROXY_INBOUND")]
    assert inbound[-2:] == [
        "-A OSM_PROXY_INBOUND -p tcp --dport 22 -j RETURN",
        "-A OSM_PROXY_INBOUND -p tcp -j OSM_PROXY_IN_REDIRECT",
    ]
    assert [rule for rule in rules if rule.startswith("-A OSM_PROXY_OUTBOUND")][-4:] == [
        "-A OSM_PROXY_OUTBOUND -d 10.1.0.0/16 -j RETURN",
        "-A OSM_PROXY_OUTBOUND -p tcp --dport 6379 -j RETURN",
        "-A OSM_PROXY_OUTBOUND -p tcp --dport 3306 -j RETURN",
        "-A OSM_PROXY_OUTBOUND -d 10.0.0.0/8 -j OSM_PROXY_OUT_REDIRECT",
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
def test_a_bad_exclusion_is_an_error_that_names_its_annotation(name: str) -> None:
    with pytest.raises(BadAnnotationError, match=f"openservicemesh.io/{name.replace('_', '-')} has 'x'"):
        injection(annotated(**{name: "x"}))


def test_a_bad_metrics_annotation_is_an_error() -> None:
    with pytest.raises(BadAnnotationError, match=r"openservicemesh\.io/metrics of namespace bookstore is 'x'"):
        injection(pod(), facts=NamespaceFacts(ENROLLED.labels, {METRICS: "x"}))


@pytest.mark.parametrize(
    "original",
    [
        pod(container("envoy")),
        pod(initContainers=[container("osm-init")]),
        pod(volumes=[{"name": "envoy-bootstrap-config-volume"}]),
    ],
)
def test_a_pod_that_uses_our_names_is_refused(original: Json) -> None:
    with pytest.raises(NameTakenError, match="which its sidecar needs: rename it"):
        injection(original)


def test_an_injection_says_whose_proxy_it_is() -> None:
    made = injection(pod(serviceAccountName="robot"))
    assert made.proxy == ProxyName(UUID, "sidecar", Identity("bookstore", "robot"))
    assert (made.namespace, made.pod, made.secret) == ("bookstore", "bookstore-1", f"envoy-bootstrap-config-{UUID}")
    nameless = injection(pod(metadata={"name": None, "generateName": "bookstore-6b5c-"}))
    assert nameless.pod == "bookstore-6b5c-"
    assert nameless.proxy.identity.service_account == "default"


def test_a_label_from_another_pod_is_replaced() -> None:
    assert patched(pod(metadata={"labels": {"osm-proxy-uuid": "old"}}))["metadata"]["labels"] == {
        "osm-proxy-uuid": UUID
    }


def test_the_patch_holds_also_for_a_pod_that_the_api_server_wrote_out_whole() -> None:
    before = pod(
        container(
            terminationMessagePath="/dev/termination-log", resources={}, volumeMounts=[{"name": "kube-api-access"}]
        ),
        volumes=[{"name": "kube-api-access"}],
        serviceAccount="bookstore",
        tolerations=[{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}],
    ) | {"apiVersion": "v1", "kind": "Pod", "status": {}}
    operations = encoded(list(injection(before).operations)).decode()
    assert without_ours(jsonpatch.apply_patch(before, operations), before) == before
