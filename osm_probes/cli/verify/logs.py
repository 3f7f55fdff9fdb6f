"""Check `Log`: lines at level error or worse in the logs of a pod's containers, current and before the last restart.

An error in the log may be over: the check warns, but does not fail.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

import msgspec

from osm_probes.cli.verify.messages import Message, summarize
from osm_probes.cli.verify.result import Result, success, unknown, warning
from osm_probes.kube.errors import KubernetesError

# Our programs write compact JSON. Other programs write a space after the colon.
_ERROR_LEVEL: Final = re.compile(r'"level"\s*:\s*"(error|fatal|panic)"')
_MAX_LENGTH: Final = 300


class _LogLine(msgspec.Struct):
    message: str = ""
    probe: str = ""
    check: str = ""
    reason: str = ""
    error: str = ""
    time: datetime | None = None


def check_logs(logs: Mapping[str, str | KubernetesError], *, now: datetime) -> Result:
    """Check the logs of one pod. `logs`: the text of each log by its name, such as the container's name."""
    messages: list[Message] = []
    unreadable: list[str] = []
    for name, log in logs.items():
        if isinstance(log, KubernetesError):
            unreadable.append(f"the log of {name} cannot be read: {log.explain('get pods/log')}")
        else:
            messages += [
                Message(f"{name}: {message.text}", message.last_seen, message.count) for message in find_errors(log)
            ]
    lines = summarize(messages, now=now)
    if unreadable:
        return unknown("Log", *unreadable, *lines)
    return warning("Log", *lines) if lines else success("Log")


def find_errors(log: str) -> Iterator[Message]:
    """The lines of a log at level error or worse."""
    for line in log.splitlines():
        if _ERROR_LEVEL.search(line):
            yield _message_from_line(line)


def _message_from_line(line: str) -> Message:
    try:
        fields = msgspec.json.decode(line, type=_LogLine)
    except msgspec.DecodeError:
        return Message(line[:_MAX_LENGTH])
    parts = (fields.message, fields.probe, fields.check, fields.reason, fields.error)
    text = ": ".join(filter(None, parts)) or line
    return Message(text[:_MAX_LENGTH], fields.time if fields.time and fields.time.tzinfo else None)
