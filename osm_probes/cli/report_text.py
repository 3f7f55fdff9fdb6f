"""Text for a bug report -> bounded text without control characters and without what looks like a credential.

The programs write no credentials into logs, Events and pages. This is for texts of others that they repeat.
"""

import re
import string
from typing import Final

import msgspec

from osm_probes.foundation.text import printable

MAX_TEXT: Final = 2 << 20
_REMOVED: Final = r"\1[removed]"
# Group 1 is kept.
_CREDENTIALS: Final = (
    re.compile(r"()-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]{0,20}PRIVATE KEY-----|\Z)"),
    re.compile(r"()LS0tLS1CRUdJTi[A-Za-z0-9+/=]+"),  # any PEM in base64, as in a Secret
    re.compile(r"()(?<![A-Za-z0-9_.-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),  # a JSON Web Token
    re.compile(r"(?i)(\b(?:bearer|basic) )[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(r"(://)[^/\s:@\"]{1,200}:[^/\s@\"]{1,200}(?=@)"),
    re.compile(r"(?i)(\b(?:password|passwd|token|api[_-]?key)\\?[\"']?\s?[=:]\s?\\?[\"']?)[^\s\"',;\\]+"),
)
# Of a key whose beginning was cut off.
_END_OF_KEY: Final = re.compile(r"-----END [A-Z ]{0,20}PRIVATE KEY-----")
_BODY_OF_KEY: Final = f"{string.ascii_letters}{string.digits}+/=\\\r\n "


def report_text(text: str) -> str:
    """The text for the report. A long one loses its beginning: the end of a log is the newest part."""
    if len(text) > MAX_TEXT:
        text = f"… ({len(text) - MAX_TEXT} characters left out)\n{text[-MAX_TEXT:]}"
    for credential in _CREDENTIALS:
        text = credential.sub(_REMOVED, text)
    *before, last = _END_OF_KEY.split(text)
    return printable("".join([*(f"{part.rstrip(_BODY_OF_KEY)}[removed]" for part in before), last]))


def report_json(value: object) -> str:
    """A document as JSON, with `report_text` of each text in it."""
    return msgspec.json.format(msgspec.json.encode(_with_report_texts(msgspec.to_builtins(value))), indent=2).decode()


def _with_report_texts(value: object) -> object:
    if isinstance(value, str):
        return report_text(value)
    if isinstance(value, dict):
        return {name: _with_report_texts(part) for name, part in value.items()}
    return [_with_report_texts(part) for part in value] if isinstance(value, list | tuple) else value
