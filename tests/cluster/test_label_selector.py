from typing import Any

import msgspec
import pytest

from osm_probes.cluster.label_selector import LabelSelector


def selector(*expressions: tuple[str, str, list[str]], **labels: str) -> LabelSelector:
    requirements = [{"key": key, "operator": operator, "values": values} for key, operator, values in expressions]
    decoded: Any = {"matchLabels": labels, "matchExpressions": requirements}
    return msgspec.convert(decoded, type=LabelSelector)


@pytest.mark.parametrize(
    ("given", "labels", "selected"),
    [
        (LabelSelector(), {}, True),
        (selector(a="1"), {"a": "1", "b": "2"}, True),
        (selector(a="1"), {"a": "2"}, False),
        (selector(("a", "In", ["1", "2"])), {"a": "2"}, True),
        (selector(("a", "In", ["1", "2"])), {}, False),
        (selector(("a", "NotIn", ["1"])), {}, True),
        (selector(("a", "NotIn", ["1"])), {"a": "1"}, False),
        (selector(("a", "Exists", [])), {"a": ""}, True),
        (selector(("a", "Exists", [])), {}, False),
        (selector(("a", "DoesNotExist", [])), {}, True),
        (selector(("a", "DoesNotExist", [])), {"a": ""}, False),
        (selector(("b", "Exists", []), a="1"), {"a": "1"}, False),
        (selector(("a", "Unheard", [])), {"a": "1"}, False),
    ],
)
def test_a_selector_selects_as_kubernetes_does(given: LabelSelector, labels: dict[str, str], selected: object) -> None:
    assert given.selects(labels) is selected


@pytest.mark.parametrize(
    ("given", "nothing"),
    [
        (LabelSelector(), False),
        (selector(a="1"), False),
        (selector(("a", "In", ["2"]), a="1"), True),
        (selector(("a", "In", ["1", "2"]), ("a", "In", ["2", "3"])), False),
        (selector(("a", "In", ["1", "2"]), ("a", "NotIn", ["1", "2"])), True),
        (selector(("a", "Exists", []), ("a", "DoesNotExist", [])), True),
        (selector(("a", "Exists", []), ("a", "NotIn", ["1"])), False),
        (selector(("a", "DoesNotExist", []), ("a", "NotIn", ["1"])), False),
        (selector(("a", "DoesNotExist", []), ("b", "Exists", [])), False),
        (selector(("a", "In", [])), True),
    ],
)
def test_a_contradiction_selects_nothing(given: LabelSelector, nothing: object) -> None:
    assert given.selects_nothing is nothing
