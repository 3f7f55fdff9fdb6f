from datetime import UTC, datetime, timedelta

from osm_probes.cli.verify.messages import Message, merge_messages, summarize

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_messages_with_the_same_text_are_merged_and_sorted_newest_first() -> None:
    messages = [
        Message("b", NOW - timedelta(hours=5)),
        Message("a", NOW),
        Message("b", NOW - timedelta(minutes=3), count=2),
        Message("c"),
    ]
    assert merge_messages(messages) == [Message("a", NOW), Message("b", NOW - timedelta(minutes=3), 3), Message("c")]
    assert summarize(messages, now=NOW) == ["a (0s ago)", "b (3 times, last 3m ago)", "c"]


def test_a_summary_counts_the_messages_after_the_fifth() -> None:
    assert summarize([Message(str(number)) for number in range(7)], now=NOW)[-2:] == ["4", "and 2 more"]
