import copy
from typing import Any

import jsonpatch
import msgspec
import pytest

from osm_probes.canary.json_patch import InapplicablePatchError, PatchOperation, apply_patch

DOCUMENT = {"a": {"b~/c": [1, 2, 3]}, "d": []}


def applied(*operations: dict[str, Any]) -> Any:
    decoded = msgspec.convert(list(operations), type=list[PatchOperation])
    return apply_patch(copy.deepcopy(DOCUMENT), decoded)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "add", "path": "/d/-", "value": 1},
        {"op": "add", "path": "/a/b~0~1c/1", "value": 9},
        {"op": "add", "path": "/a/b~0~1c/3", "value": 9},
        {"op": "add", "path": "/a/new", "value": None},
        {"op": "replace", "path": "/a/b~0~1c/0", "value": {}},
        {"op": "replace", "path": "/a", "value": 1},
        {"op": "remove", "path": "/a/b~0~1c/2"},
        {"op": "remove", "path": "/a"},
    ],
)
def test_an_operation_changes_what_an_independent_library_changes(operation: dict[str, Any]) -> None:
    assert applied(operation) == jsonpatch.apply_patch(DOCUMENT, [operation])


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "add", "path": "", "value": 1},
        {"op": "add", "path": "a", "value": 1},
        {"op": "add", "path": "/x/y", "value": 1},
        {"op": "add", "path": "/d/1", "value": 1},
        {"op": "add", "path": "/d/-1", "value": 1},
        {"op": "add", "path": "/d/\u0660", "value": 1},  # a digit that is not ASCII
        {"op": "replace", "path": "/d/0", "value": 1},
        {"op": "replace", "path": "/x", "value": 1},
        {"op": "remove", "path": "/d/-"},
        {"op": "remove", "path": "/x"},
        {"op": "remove", "path": "/a/b~0~1c/" + "9" * 5000},
        {"op": "move", "path": "/d", "from": "/a"},
    ],
)
def test_an_operation_that_does_not_fit_is_an_error(operation: dict[str, Any]) -> None:
    with pytest.raises(InapplicablePatchError, match="does not fit the pod"):
        applied(operation)
