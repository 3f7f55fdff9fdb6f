"""The control plane's pods: probes, shutdown, scheduling, disruption budgets and security."""

from typing import Any

import pytest

from tests.chart.render import MATRIX, Manifest, Values, find, objects, rendered

pytestmark = pytest.mark.helm
PROGRAMS = ["osm-controller", "osm-injector"]


def pod(name: str, values: Values | None = None) -> Manifest:
    """The pod template of a program."""
    template: Manifest = find(objects(values), "Deployment", name)["spec"]["template"]
    return template


def container(name: str, values: Values | None = None) -> dict[str, Any]:
    """The container of a program."""
    (result,) = pod(name, values)["spec"]["containers"]
    return dict(result)


@pytest.mark.parametrize("name", PROGRAMS)
def test_deployment_and_pod_have_upstreams_labels_and_the_selector_has_no_version(name: str) -> None:
    deployment = find(objects({"meshName": "shop"}), "Deployment", name)
    for metadata in (deployment["metadata"], deployment["spec"]["template"]["metadata"]):
        assert {"app": name, "meshName": "shop"}.items() <= metadata["labels"].items()
        assert metadata["labels"]["app.kubernetes.io/version"] == "0.1.0"
    assert deployment["spec"]["selector"] == {"matchLabels": {"app": name}}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_liveness_takes_longer_to_fail_than_readiness_and_no_probe_sets_a_host(name: str, values: Values) -> None:
    spec = container(name, values)
    budgets = {}
    for probe in ("startup", "liveness", "readiness"):
        fields = spec[f"{probe}Probe"]
        assert "host" not in fields["httpGet"]
        budgets[probe] = fields["periodSeconds"] * fields["failureThreshold"]
    assert budgets["readiness"] < budgets["liveness"] < budgets["startup"] == 600


@pytest.mark.parametrize("name", PROGRAMS)
def test_all_fields_of_the_probes_can_be_set_in_the_values(name: str) -> None:
    fields: dict[str, dict[str, int]] = {
        "startupProbe": {"terminationGracePeriodSeconds": 11, "successThreshold": 1},
        "livenessProbe": {"terminationGracePeriodSeconds": 12, "successThreshold": 1},
        "readinessProbe": {"successThreshold": 4},
    }
    times = {"initialDelaySeconds": 31, "timeoutSeconds": 32, "periodSeconds": 33, "failureThreshold": 34}
    values = {probe: {**times, **more} for probe, more in fields.items()}
    values["livenessProbe"]["failureThreshold"] = 35
    spec = container(name, {name.removeprefix("osm-"): values})
    for probe, expected in values.items():
        assert {key: value for key, value in spec[probe].items() if key != "httpGet"} == expected


@pytest.mark.parametrize(("grace", "waits"), [(20, 30), (60, 70), (7.5, 18)])
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_kubelet_waits_longer_than_the_grace_period(name: str, grace: float, waits: int) -> None:
    values = {name.removeprefix("osm-"): {"grace": grace}}
    assert pod(name, values)["spec"]["terminationGracePeriodSeconds"] == waits
    assert f"--grace={grace}" in container(name, values)["args"]
    assert "lifecycle" not in container(name, values)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_rolling_update_removes_no_pod_before_its_replacement_is_ready(name: str) -> None:
    strategy = find(objects(), "Deployment", name)["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


@pytest.mark.parametrize("name", PROGRAMS)
def test_replicas_are_spread_over_nodes_and_zones(name: str) -> None:
    constraints = pod(name)["spec"]["topologySpreadConstraints"]
    assert [constraint["topologyKey"] for constraint in constraints] == [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    ]
    for constraint in constraints:
        assert constraint["labelSelector"] == {"matchLabels": {"app": name}}
        assert constraint["matchLabelKeys"] == ["pod-template-hash"]


@pytest.mark.parametrize(
    ("values", "budget"),
    [
        ({"replicas": 2}, True),
        ({"replicas": 1}, False),
        ({"replicas": 0}, False),
        ({"replicas": 2, "podDisruptionBudget": {"enabled": False}}, False),
        ({"replicas": 1, "autoscaling": {"enabled": True, "minReplicas": 2}}, True),
        ({"replicas": 2, "autoscaling": {"enabled": True, "minReplicas": 1}}, False),
    ],
)
@pytest.mark.parametrize("program", ["controller", "injector"])
def test_there_is_a_disruption_budget_only_with_at_least_two_replicas(
    program: str,
    values: Values,
    budget: bool,  # noqa: FBT001
) -> None:
    budgets = [manifest for manifest in objects({program: values}) if manifest["kind"] == "PodDisruptionBudget"]
    own = [manifest for manifest in budgets if manifest["metadata"]["name"] == f"osm-{program}"]
    assert len(own) == budget
    for manifest in own:
        assert manifest["spec"] == {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": {"app": f"osm-{program}"}},
        }


@pytest.mark.parametrize("name", PROGRAMS)
def test_with_autoscaling_the_chart_does_not_set_the_number_of_replicas(name: str) -> None:
    deployment = find(objects(MATRIX["scaled"]), "Deployment", name)
    scaler = find(objects(MATRIX["scaled"]), "HorizontalPodAutoscaler", name)
    assert "replicas" not in deployment["spec"]
    assert scaler["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    assert deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"]


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_pods_run_without_root_capabilities_or_volumes_other_than_config_maps(values: Values) -> None:
    (test,) = rendered(values)["tests/probes"]
    for spec in (test["spec"], *(pod(name, values)["spec"] for name in PROGRAMS)):
        (container_spec,) = spec["containers"]
        assert all(volume.keys() == {"name", "configMap"} for volume in spec.get("volumes", ()))
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container_spec["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_uid_is_the_images_by_default_and_can_be_left_to_the_platform(name: str) -> None:
    assert pod(name)["spec"]["securityContext"]["runAsUser"] == 65532
    assert "runAsUser" not in pod(name, MATRIX["any uid"])["spec"]["securityContext"]


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ({}, "osm-probes:0.1.0"),
        ({"tag": "main"}, "osm-probes:main"),
        ({"repository": "example/osm", "digest": f"sha256:{'0' * 64}"}, f"example/osm@sha256:{'0' * 64}"),
    ],
)
def test_the_image_is_referenced_by_tag_or_digest(image: Values, name: str) -> None:
    assert {container(program, {"image": image})["image"] for program in PROGRAMS} == {name}


def test_cluster_scoped_objects_have_names_unique_to_mesh_or_namespace() -> None:
    cluster_wide = [manifest for manifest in objects() if "namespace" not in manifest["metadata"]]
    for manifest in cluster_wide:
        assert manifest["metadata"]["name"].endswith(("-osm-system", "-osm")), manifest["metadata"]["name"]
    assert {manifest["kind"] for manifest in cluster_wide} == {
        "ClusterRole",
        "ClusterRoleBinding",
        "MutatingWebhookConfiguration",
    }
