"""The chart and values -> the objects that Helm makes of them."""

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
    "guarded": {"networkPolicy": {"enabled": True, "httpFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}},
    "watched": {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}},
    "any uid": {"podSecurityContext": {"runAsUser": None, "runAsGroup": None}},
    "own names": {
        "meshName": "shop",
        "trustDomain": "shop.example",
        "caBundleSecretName": "own-ca",
        "meshConfig": {"traffic": {"enableEgress": True}, "sidecar": {"maxDataPlaneConnections": 100}},
        "image": {"repository": "registry.example:5000/osm", "digest": f"sha256:{'0' * 64}"},
        "imagePullSecrets": [{"name": "registry"}],
        "webhook": {"failurePolicy": "Ignore", "excludedNamespaces": ["backup"]},
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
"""Values that each show another side of the chart."""


def rendered(values: Values | None = None) -> dict[str, list[Manifest]]:
    """The objects of a release in osm-system by their template's name, such as osm-controller-rbac.

    Raises helm_python.HelmError.
    """
    return {name: documents(text) for name, text in _files(json.dumps(values or {})).items() if name != "NOTES"}


def objects(values: Values | None = None) -> list[Manifest]:
    """All objects of a release in osm-system; hooks, which Helm makes at a time of their own, left out."""
    found = (each for documents in rendered(values).values() for each in documents)
    return [each for each in found if "helm.sh/hook" not in each["metadata"].get("annotations", {})]


def notes(values: Values | None = None) -> str:
    """What Helm tells who installs it."""
    return _files(json.dumps(values or {}))["NOTES"]


def find(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The one object of this kind and name."""
    (found,) = (each for each in manifests if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


def documents(text: str) -> list[Manifest]:
    """The documents in a text, empty ones left out."""
    return [each for each in yaml.safe_load_all(text) if each]


@functools.cache
def _files(values: str) -> dict[str, str]:
    given = json.loads(values)
    _chart().validate_schema(_chart().merge_values(given))
    files = _chart().render(given, name="osm", namespace=NAMESPACE)
    return {path.partition("/templates/")[2].rpartition(".")[0]: text for path, text in files.items()}


@functools.cache
def _chart() -> helm_python.Chart:
    return helm_python.Chart.load(CHART)
