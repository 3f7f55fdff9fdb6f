from osm_probes.cli.output import strip_styles
from osm_probes.cli.verify.result import Status, failure, group, render_tree, success, unknown, warning


def test_a_group_has_the_worst_status_of_its_parts() -> None:
    parts = [success("a"), warning("b", "reason"), unknown("c", "reason"), failure("d", "reason")]
    assert [group("all", parts[:size]).status for size in range(5)] == [
        *(Status.SUCCESS, Status.SUCCESS, Status.WARNING, Status.UNKNOWN, Status.FAILURE)
    ]


def test_the_tree_shows_reasons_and_suggestions() -> None:
    failed = failure("a", "first reason", "second reason", suggestions=["this"])
    result = group("all", [group("one", [failed]), success("two")])
    assert [strip_styles(line) for line in render_tree(result)] == [
        "all: Failure",
        "├── one: Failure",
        "│   └── a: Failure",
        "│           Reason: first reason",
        "│           Reason: second reason",
        "│           Suggestion: this",
        "└── two: Success",
    ]
