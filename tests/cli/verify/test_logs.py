from datetime import UTC, datetime

import pytest

from osm_probes.cli.verify.logs import find_errors
from osm_probes.cli.verify.messages import Message

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "messages"),
    [
        ('{"level":"error","time":"2026-03-01T12:00:00Z","message":"no","error":"why"}', [Message("no: why", NOW)]),
        ('{"level": "error", "message": "no"}', [Message("no")]),
        (
            '{"level":"error","message":"a probe failed","probe":"alive","check":"ads","reason":"no beat for 15.1 s"}',
            [Message("a probe failed: alive: ads: no beat for 15.1 s")],
        ),
        ('{"level":"fatal","message":"no"}', [Message("no")]),
        ('{"level":"error"}', [Message('{"level":"error"}')]),
        ('{"level":"error","message":7}', [Message('{"level":"error","message":7}')]),
        ('{"level":"warn","message":"an error"}', []),
        ("error", []),
    ],
)
def test_lines_at_level_error_are_found_in_both_json_forms(line: str, messages: list[Message]) -> None:
    assert list(find_errors(f"{line}\n")) == messages
