"""The chart's alerts and ServiceMonitors match the metrics that the programs expose."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from osm_probes.mesh.ports import PROBE_PORT
from tests.chart.render import MATRIX, find, objects

pytestmark = pytest.mark.helm
METRICS = Path(__file__).parents[2] / "docs" / "metrics.md"
OF_KUBERNETES = {"namespace", "pod"}


def _families() -> dict[str, set[str]]:
    """The labels of each metric family from docs/metrics.md, which another test compares with the running programs."""
    rows = re.findall(r"^\| `(osm_\w+)` \| \w+ \|([^|]*)\|", METRICS.read_text(), re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


def _rules() -> list[dict[str, Any]]:
    (group,) = find(objects(MATRIX["watched"]), "PrometheusRule", "osm")["spec"]["groups"]
    return list(group["rules"])


def _parts(expression: Any) -> Iterator[Any]:
    """The expression and all its subexpressions."""
    yield expression
    for name in ("lhs", "rhs", "expr", "args", "vector_selector"):
        children = getattr(expression, name, None) or ()
        for child in children if isinstance(children, list) else [children]:
            if child != ():
                yield from _parts(child)


RULES = {rule["alert"]: rule for rule in _rules()}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_an_alert_selects_existing_metrics_in_the_releases_namespace(rule: dict[str, Any]) -> None:
    families = _families()
    selectors = [p for p in _parts(promql_parser.parse(rule["expr"])) if isinstance(p, promql_parser.VectorSelector)]
    assert selectors
    for selector in selectors:
        matchers = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
        assert matchers.pop("namespace") == "osm-system"
        assert matchers.keys() <= families[selector.name or ""]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_an_alerts_annotations_use_only_existing_labels(rule: dict[str, Any]) -> None:
    known = set().union(*_families().values(), OF_KUBERNETES)
    text = " ".join(rule["annotations"].values())
    assert set(re.findall(r"\$labels\.(\w+)", text)) <= known
    assert rule["labels"]["severity"] in {"critical", "warning"}


@pytest.mark.parametrize("name", ["osm-controller", "osm-injector"])
def test_the_service_monitor_selects_the_service_and_the_port_with_the_metrics(name: str) -> None:
    manifests = objects(MATRIX["watched"])
    monitor, service = find(manifests, "ServiceMonitor", name)["spec"], find(manifests, "Service", name)
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["endpoints"]
    assert endpoint["path"] == "/metrics"
    ports = {port["name"]: port["targetPort"] for port in service["spec"]["ports"]}
    assert ports[endpoint["port"]] == PROBE_PORT


def test_by_default_there_are_no_objects_of_the_prometheus_operator() -> None:
    assert not [manifest for manifest in objects() if manifest["apiVersion"].startswith("monitoring.coreos.com")]
