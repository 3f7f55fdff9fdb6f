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


def rendered(values: Mapping[str, Any] | None = None) -> dict[str, list[Manifest]]:
    """The objects of a release in osm-system by their template's name, such as osm-controller-rbac."""
    return {name: _documents(text) for name, text in _files(json.dumps(values or {})).items() if name != "NOTES"}


def objects(values: Mapping[str, Any] | None = None) -> list[Manifest]:
    """All objects of a release in osm-system, tests left out."""
    return [each for name, found in rendered(values).items() if not name.startswith("tests/") for each in found]


def notes(values: Mapping[str, Any] | None = None) -> str:
    """What Helm tells who installs it."""
    return _files(json.dumps(values or {}))["NOTES"]


def find(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The one object of this kind and name."""
    (found,) = (each for each in manifests if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


@functools.cache
def _files(values: str) -> dict[str, str]:
    with helm_python.Chart.load(CHART) as chart:
        given = json.loads(values)
        chart.validate_schema(chart.merge_values(given))
        files = chart.render(given, name="osm", namespace=NAMESPACE)
    return {path.partition("/templates/")[2].rpartition(".")[0]: text for path, text in files.items()}


def _documents(text: str) -> list[Manifest]:
    return [each for each in yaml.safe_load_all(text) if each]
