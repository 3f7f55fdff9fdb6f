"""The alerts ask for what the programs tell."""

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
    """The labels of each family, as docs/metrics.md has them; the tests of metrics hold it to what is served."""
    rows = re.findall(r"^\| `(osm_\w+)` \| \w+ \|([^|]*)\|", METRICS.read_text(), re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


def _rules() -> list[dict[str, Any]]:
    (group,) = find(objects(MATRIX["watched"]), "PrometheusRule", "osm")["spec"]["groups"]
    return list(group["rules"])


def _parts(expression: Any) -> Iterator[Any]:
    """The expression and all below it."""
    yield expression
    for name in ("lhs", "rhs", "expr", "args", "vector_selector"):
        below = getattr(expression, name, None) or ()
        for each in below if isinstance(below, list) else [below]:
            if each != ():
                yield from _parts(each)


RULES = {each["alert"]: each for each in _rules()}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_an_alert_asks_for_metrics_that_there_are_in_this_namespace(rule: dict[str, Any]) -> None:
    families = _families()
    selectors = [p for p in _parts(promql_parser.parse(rule["expr"])) if isinstance(p, promql_parser.VectorSelector)]
    assert selectors
    for selector in selectors:
        matchers = {each.name: each.value for each in selector.matchers.matchers}
        assert matchers.pop("namespace") == "osm-system"
        assert matchers.keys() <= families[selector.name or ""]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_an_alert_speaks_of_labels_that_its_series_have(rule: dict[str, Any]) -> None:
    known = set().union(*_families().values(), OF_KUBERNETES)
    text = " ".join(rule["annotations"].values())
    assert set(re.findall(r"\$labels\.(\w+)", text)) <= known
    assert rule["labels"]["severity"] in {"critical", "warning"}


@pytest.mark.parametrize("name", ["osm-controller", "osm-injector"])
def test_prometheus_finds_the_metrics(name: str) -> None:
    found = objects(MATRIX["watched"])
    monitor, service = find(found, "ServiceMonitor", name)["spec"], find(found, "Service", name)
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["endpoints"]
    assert endpoint["path"] == "/metrics"
    ports = {each["name"]: each["targetPort"] for each in service["spec"]["ports"]}
    assert ports[endpoint["port"]] == PROBE_PORT


def test_there_is_nothing_of_prometheus_unless_asked_for() -> None:
    assert not [each for each in objects() if each["apiVersion"].startswith("monitoring.coreos.com")]
