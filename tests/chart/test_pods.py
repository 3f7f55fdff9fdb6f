"""How the control plane's pods run, are probed, stopped, placed and disturbed."""

from typing import Any

import pytest

from tests.chart.render import MATRIX, Manifest, Values, find, objects, rendered

pytestmark = pytest.mark.helm
PROGRAMS = ["osm-controller", "osm-injector"]


def pod(name: str, values: Values | None = None) -> Manifest:
    """The pod of a program."""
    template: Manifest = find(objects(values), "Deployment", name)["spec"]["template"]
    return template


def container(name: str, values: Values | None = None) -> dict[str, Any]:
    """Its container."""
    (found,) = pod(name, values)["spec"]["containers"]
    return dict(found)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_labels_of_upstream_are_on_deployment_and_pod_and_the_selector_outlives_upgrades(name: str) -> None:
    deployment = find(objects({"meshName": "shop"}), "Deployment", name)
    for metadata in (deployment["metadata"], deployment["spec"]["template"]["metadata"]):
        assert {"app": name, "meshName": "shop"}.items() <= metadata["labels"].items()
        assert metadata["labels"]["app.kubernetes.io/version"] == "0.1.0"
    assert deployment["spec"]["selector"] == {"matchLabels": {"app": name}}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_liveness_gives_up_later_than_readiness_and_no_probe_names_a_host(name: str, values: Values) -> None:
    found = container(name, values)
    budgets = {}
    for probe in ("startup", "liveness", "readiness"):
        fields = found[f"{probe}Probe"]
        assert "host" not in fields["httpGet"]
        budgets[probe] = fields["periodSeconds"] * fields["failureThreshold"]
    assert budgets["readiness"] < budgets["liveness"] < budgets["startup"] == 600


@pytest.mark.parametrize("name", PROGRAMS)
def test_all_fields_of_probes_are_values(name: str) -> None:
    fields: dict[str, dict[str, int]] = {
        "startupProbe": {"terminationGracePeriodSeconds": 11, "successThreshold": 1},
        "livenessProbe": {"terminationGracePeriodSeconds": 12, "successThreshold": 1},
        "readinessProbe": {"successThreshold": 4},
    }
    times = {"initialDelaySeconds": 31, "timeoutSeconds": 32, "periodSeconds": 33, "failureThreshold": 34}
    values = {probe: {**times, **more} for probe, more in fields.items()}
    values["livenessProbe"]["failureThreshold"] = 35
    found = container(name, {name.removeprefix("osm-"): values})
    for probe, given in values.items():
        assert {key: value for key, value in found[probe].items() if key != "httpGet"} == given


@pytest.mark.parametrize(("grace", "waits"), [(20, 30), (60, 70), (7.5, 18)])
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_kubelet_waits_longer_than_a_stop_may_take(name: str, grace: float, waits: int) -> None:
    values = {name.removeprefix("osm-"): {"grace": grace}}
    assert pod(name, values)["spec"]["terminationGracePeriodSeconds"] == waits
    assert f"--grace={grace}" in container(name, values)["args"]
    assert "lifecycle" not in container(name, values)


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_upgrade_takes_no_pod_away_before_another_is_ready(name: str) -> None:
    strategy = find(objects(), "Deployment", name)["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


@pytest.mark.parametrize("name", PROGRAMS)
def test_replicas_are_spread(name: str) -> None:
    constraints = pod(name)["spec"]["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in constraints] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    for each in constraints:
        assert each["labelSelector"] == {"matchLabels": {"app": name}}
        assert each["matchLabelKeys"] == ["pod-template-hash"]


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
def test_there_is_a_budget_where_there_are_always_two(program: str, values: Values, budget: bool) -> None:  # noqa: FBT001
    found = [each for each in objects({program: values}) if each["kind"] == "PodDisruptionBudget"]
    mine = [each for each in found if each["metadata"]["name"] == f"osm-{program}"]
    assert len(mine) == budget
    for each in mine:
        assert each["spec"] == {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": {"app": f"osm-{program}"}},
        }


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_scales_a_deployment_is_not_told_its_size_by_the_chart(name: str) -> None:
    deployment = find(objects(MATRIX["scaled"]), "Deployment", name)
    scaler = find(objects(MATRIX["scaled"]), "HorizontalPodAutoscaler", name)
    assert "replicas" not in deployment["spec"]
    assert scaler["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    assert deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"]


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_nothing_is_mounted_to_write_and_nobody_is_root(values: Values) -> None:
    (test,) = rendered(values)["tests/probes"]
    for spec in (test["spec"], *(pod(name, values)["spec"] for name in PROGRAMS)):
        (found,) = spec["containers"]
        assert "volumes" not in spec
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert found["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_uid_is_the_images_or_the_platforms(name: str) -> None:
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
def test_the_image_is_named_by_tag_or_digest(image: Values, name: str) -> None:
    assert {container(each, {"image": image})["image"] for each in PROGRAMS} == {name}


def test_no_two_meshes_of_a_cluster_share_an_object_of_the_cluster() -> None:
    cluster_wide = [each for each in objects() if "namespace" not in each["metadata"]]
    for each in cluster_wide:
        assert each["metadata"]["name"].endswith(("-osm-system", "-osm")), each["metadata"]["name"]
    assert {each["kind"] for each in cluster_wide} == {
        "ClusterRole",
        "ClusterRoleBinding",
        "MutatingWebhookConfiguration",
    }
