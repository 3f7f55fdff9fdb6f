"""Which values the chart accepts, and how it rejects the others."""

import json
from collections.abc import Iterator
from typing import Any

import helm_python
import pytest
import yaml

from tests.chart.render import CHART, MATRIX, Values, notes, rendered
from tests.kubernetes.manifests import CRDS

pytestmark = pytest.mark.helm
DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
Path = tuple[str, ...]


def at(path: Path, value: object) -> dict[str, Any]:
    """Values in which only this path is set."""
    for key in reversed(path):
        value = {key: value}
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_helm_4s_linter_reports_no_problems(values: Values) -> None:
    report = helm_python.lint(CHART, dict(values), strict=True)
    assert [message["error"] for message in report["messages"]] == ["icon is recommended"]
    assert report["errors"] == []


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("meshNam",), "osm", "additional properties 'meshNam' not allowed"),
        (("controller", "replica"), 2, "additional properties 'replica' not allowed"),
        (("controller", "replicas"), "two", "at '/controller/replicas': got string, want integer"),
        (("controller", "replicas"), -1, "at '/controller/replicas': minimum: got -1, want 0"),
        (
            ("controller", "logLevel"),
            "loud",
            "at '/controller/logLevel': value must be one of 'trace', 'debug', 'info'",
        ),
        (("controller", "livenessProbe", "host"), "127.0.0.1", "additional properties 'host' not allowed"),
        (("controller", "livenessProbe", "httpGet"), {}, "additional properties 'httpGet' not allowed"),
        (("controller", "livenessProbe", "successThreshold"), 2, "value must be 1"),
        (("controller", "readinessProbe", "terminationGracePeriodSeconds"), 5, "not allowed"),
        (
            ("controller", "extraArgs"),
            ["verbose"],
            "at '/controller/extraArgs/0': 'verbose' does not match pattern '^-'",
        ),
        (("controller", "drainDelay"), "5s", "at '/controller/drainDelay': got string, want number"),
        (("controller", "podDisruptionBudget", "maxUnavailable"), 0, "minimum: got 0, want 1"),
        (
            ("injector", "topologySpreadConstraints"),
            [{"topologyKey": "zone"}],
            "missing properties 'maxSkew', 'whenUns",
        ),
        (("image", "tag"), 1.0, "at '/image/tag': got number, want string"),
        (("image", "digest"), "sha256:12", "at '/image/digest'"),
        (("image", "pullPolicy"), "Sometimes", "value must be one of 'Always', 'IfNotPresent', 'Never'"),
        (("sidecar", "image"), "", "at '/sidecar/image': minLength: got 0, want 1"),
        (("meshNamespaces",), ["Shop"], "at '/meshNamespaces/0': 'Shop' does not match pattern"),
        (("rbac", "allNamespace"), True, "additional properties 'allNamespace' not allowed"),
        (("meshName",), "Osm", "at '/meshName': 'Osm' does not match pattern"),
        (("meshConfig", "trafic"), {}, "additional properties 'trafic' not allowed"),
        (("meshConfig", "traffic"), {"enableEgress": "no"}, "got string, want boolean"),
        (("webhook", "failurePolicy"), "Maybe", "value must be one of 'Fail', 'Ignore'"),
        (("webhook", "timeoutSeconds"), 31, "maximum: got 31, want 30"),
        (
            ("webhook", "clientCAConfigMap"),
            "Not a name",
            "at '/webhook/clientCAConfigMap': 'Not a name' does not match",
        ),
        (("webhook", "dryRunNamespace"), "Dry", "at '/webhook/dryRunNamespace': 'Dry' does not match pattern"),
        (("webhook", "caBundle"), "", "additional properties 'caBundle' not allowed"),
        (("serviceMonitor", "interval"), "often", "at '/serviceMonitor/interval'"),
    ],
)
def test_an_invalid_value_is_rejected_with_an_explanation(path: Path, value: object, words: str) -> None:
    with pytest.raises(helm_python.HelmValuesError) as error:
        rendered(at(path, value))
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"grace": 5}, "drainDelay (5 s) must be below {0}.grace (5 s), because draining is a part of the shutdown"),
        ({"canaryLimit": 5}, "livenessProbe.timeoutSeconds must be above {0}.canaryLimit (5 s)"),
        (
            {"readinessProbe": {"timeoutSeconds": 2}},
            "readinessProbe.timeoutSeconds must be above {0}.canaryLimit (3 s)",
        ),
        (
            {"livenessProbe": {"failureThreshold": 3}},
            "livenessProbe fails after 30 s, {0}.readinessProbe after 30 s",
        ),
        ({"podLabels": {"app": "mine"}}, "podLabels.app is reserved by the chart"),
        ({"podLabels": {"meshName": "mine"}}, "podLabels.meshName is reserved by the chart"),
        (
            {"autoscaling": {"enabled": True, "minReplicas": 11}},
            "autoscaling.minReplicas must not be above maxReplicas",
        ),
    ],
)
@pytest.mark.parametrize("program", ["controller", "injector"])
def test_contradictory_values_are_rejected_with_an_explanation(
    program: str, values: dict[str, Any], words: str
) -> None:
    with pytest.raises(helm_python.HelmRenderError) as error:
        rendered({program: values})
    assert f"{program}.{words.format(program)}" in str(error.value)


def _leaves(value: object, path: Path = ()) -> Iterator[tuple[Path, object]]:
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _leaves(below, (*path, key))
    else:
        yield path, value


_TEXT = "other"
DIFFERENT_VALUES: dict[str, object] = {
    "meshConfig": {"traffic": {"enableEgress": True}},
    "logLevel": "debug",
    "imagePullSecrets": [{"name": _TEXT}],
    "pullPolicy": "Never",
    "digest": f"sha256:{'1' * 64}",
    "failurePolicy": "Ignore",
    "interval": "5s",
    "topologySpreadConstraints": [],
    "tolerations": [{"operator": "Exists"}],
    "extraArgs": ["--ads-port=1"],
    "extraEnv": [{"name": _TEXT}],
    "excludedNamespaces": [_TEXT],
    "webhookFrom": [{"podSelector": {}}],
    "meshNamespaces": [_TEXT],
    "httpFrom": [{"podSelector": {}}],
    "affinity": {"podAffinity": {}},
    "drop": ["KILL"],
    "canaryLimit": 1,
}
"""A valid different value for each key for which `_different_value` cannot derive one from the type."""
ENABLED: Values = {
    "networkPolicy": {"enabled": True},
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
}
"""Values that enable the parts which are off by default."""


def _different_value(name: str, value: object) -> object:
    if name in DIFFERENT_VALUES:
        return DIFFERENT_VALUES[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return {_TEXT: _TEXT} if isinstance(value, dict) else _TEXT


def _merged(base: Values, override: Values) -> dict[str, Any]:
    both = {**base, **override}
    for key in base.keys() & override.keys():
        if isinstance(base[key], dict) and isinstance(override[key], dict):
            both[key] = _merged(base[key], override[key])
    return both


@pytest.mark.parametrize("path", [path for path, _ in _leaves(DEFAULTS)], ids=".".join)
def test_every_value_changes_the_rendered_objects(path: Path) -> None:
    base = dict(ENABLED)
    if "autoscaling" in path and path[-1] != "enabled":
        base = _merged(base, at(path[:-1], {"enabled": True}))
    now = dict(_leaves(_merged(DEFAULTS, base)))[path]
    assert rendered(_merged(base, at(path, _different_value(path[-1], now)))) != rendered(base)


def _without_descriptions(schema: object) -> object:
    """A schema without descriptions, and without keywords that only the API server understands."""
    if isinstance(schema, dict):
        return {
            key: _without_descriptions(value)
            for key, value in schema.items()
            if not key.startswith("x-") and key not in {"description", "additionalProperties", "default"}
        }
    return schema


def test_the_schema_of_the_value_mesh_config_equals_its_crds() -> None:
    (version,) = yaml.safe_load((CRDS / "meshconfigs.yaml").read_text())["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert _without_descriptions(SCHEMA["properties"]["meshConfig"]) == _without_descriptions(spec)


def test_the_notes_explain_how_to_query_the_probes() -> None:
    text = notes()
    assert "kubectl port-forward -n osm-system deployment/osm-controller 9091:9091" in text
    assert "curl -i localhost:9091/health/alive" in text
    assert "curl -ik https://localhost:9090/healthz" in text
    assert "one replica" not in text
    assert "With one replica" in notes(MATRIX["alone"])
