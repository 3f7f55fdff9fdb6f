"""The chart and values -> the objects that Helm renders."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import helm_python
import yaml

CHART: Final = Path(__file__).parents[2] / "charts" / "osm"
NAMESPACE: Final = "osm-system"
Manifest = dict[str, Any]
Values = Mapping[str, Any]

MATRIX: Final[dict[str, Values]] = {
    "defaults": {},
    "alone": {"controller": {"replicas": 1}, "injector": {"replicas": 1}},
    "scaled": {"controller": {"autoscaling": {"enabled": True}}, "injector": {"autoscaling": {"enabled": True}}},
    "guarded": {
        "rbac": {"allNamespaces": True},
        "networkPolicy": {
            "enabled": True,
            "webhookFrom": [{"ipBlock": {"cidr": "10.1.0.0/16"}}],
            "httpFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        },
    },
    "watched": {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}},
    "any uid": {"podSecurityContext": {"runAsUser": None, "runAsGroup": None}},
    "own names": {
        "meshName": "shop",
        "meshNamespaces": ["default"],
        "trustDomain": "shop.example",
        "caBundleSecretName": "own-ca",
        "meshConfig": {"traffic": {"enableEgress": True}, "sidecar": {"maxDataPlaneConnections": 100}},
        "image": {"repository": "registry.example:5000/osm", "digest": f"sha256:{'0' * 64}"},
        "imagePullSecrets": [{"name": "registry"}],
        "webhook": {
            "failurePolicy": "Ignore",
            "excludedNamespaces": ["backup"],
            "clientCAConfigMap": "api-server-ca",
            "dryRunNamespace": "default",
        },
        "priorityClassName": "",
    },
    "placed": {
        "controller": {
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "dedicated", "operator": "Exists"}],
            "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
            "topologySpreadConstraints": [],
            "podAnnotations": {"team": "mesh"},
            "podLabels": {"team": "mesh"},
            "extraArgs": ["--grpc-health-port=9093"],
            "extraEnv": [{"name": "OSM_HUMAN_DEBUG_LOG", "value": "true"}],
            "podDisruptionBudget": {"maxUnavailable": "50%"},
        }
    },
}
"""Sets of values which together use all parts of the chart."""


def rendered(values: Values | None = None) -> dict[str, list[Manifest]]:
    """The objects of a release in osm-system, by template name such as osm-controller-rbac.

    Raises helm_python.HelmError.
    """
    return {name: documents(text) for name, text in _files(json.dumps(values or {})).items() if name != "NOTES"}


def objects(values: Values | None = None) -> list[Manifest]:
    """All objects of a release in osm-system except hooks, which Helm creates separately."""
    manifests = (manifest for documents in rendered(values).values() for manifest in documents)
    return [manifest for manifest in manifests if "helm.sh/hook" not in manifest["metadata"].get("annotations", {})]


def notes(values: Values | None = None) -> str:
    """The text that Helm prints after an installation."""
    return _files(json.dumps(values or {}))["NOTES"]


def find(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The object with this kind and name. Raises ValueError unless there is exactly one."""
    (match,) = (manifest for manifest in manifests if (manifest["kind"], manifest["metadata"]["name"]) == (kind, name))
    return match


def documents(text: str) -> list[Manifest]:
    """The YAML documents in a text, without empty ones."""
    return [document for document in yaml.safe_load_all(text) if document]


@functools.cache
def _files(values: str) -> dict[str, str]:
    parsed = json.loads(values)
    _chart().validate_schema(_chart().merge_values(parsed))
    files = _chart().render(parsed, name="osm", namespace=NAMESPACE)
    return {path.partition("/templates/")[2].rpartition(".")[0]: text for path, text in files.items()}


@functools.cache
def _chart() -> helm_python.Chart:
    return helm_python.Chart.load(CHART)
