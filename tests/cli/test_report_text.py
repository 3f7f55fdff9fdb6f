import time

import pytest

from osm_probes.cli.report_fields import keep, scalar
from osm_probes.cli.report_text import MAX_TEXT, report_json, report_text

KEY = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"a -----BEGIN PRIVATE KEY-----\n{KEY}\n-----END PRIVATE KEY----- b", "a [removed] b"),
        (f"-----BEGIN EC PRIVATE KEY-----\\n{KEY}", "[removed]"),
        (f"the end of: {KEY}\n{KEY}\n-----END RSA PRIVATE KEY----- b", "the end of:[removed] b"),
        ("key: LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCg==", "key: [removed]"),
        ("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmN, refused", "got [removed], refused"),
        ("Authorization: Bearer abcdefghijk", "Authorization: Bearer [removed]"),
        ("https://me:hush@host/path", "https://[removed]@host/path"),
        ('{"password":"hush","user":"me"}', '{"password":"[removed]","user":"me"}'),
        ("password=hush and api-key: hush", "password=[removed] and api-key: [removed]"),
        ('"Secret osm-system/osm-ca-bundle cannot be read"', '"Secret osm-system/osm-ca-bundle cannot be read"'),
        ("a\x1b[31m b\nc", "a [31m b\nc"),
    ],
)
def test_credentials_and_control_characters_are_removed(text: str, expected: str) -> None:
    assert report_text(text) == expected


def test_of_a_long_text_the_end_is_kept() -> None:
    text = report_text("x" * MAX_TEXT + "newest")
    assert text.startswith("… (6 characters left out)\nx")
    assert text.endswith("newest")


@pytest.mark.parametrize(
    "part", ["-eyJ", "eyJaaaaaaaa.", "-----BEGIN PRIVATE KEY", "://a:", "token=", "LS0tLS1CRUdJTi", "a "]
)
def test_hostile_texts_of_full_length_take_seconds_at_most(part: str) -> None:
    started = time.process_time()
    report_text(part * (MAX_TEXT // len(part)))
    assert time.process_time() - started < 10, "of processor time; quadratic time would be minutes"


def test_a_document_stays_one() -> None:
    assert (
        report_json({"a": ["token=hush", 1, None]}) == '{\n  "a": [\n    "token=[removed]",\n    1,\n    null\n  ]\n}'
    )


@pytest.mark.parametrize("value", [None, [], [1], "x", {"a": {"b": 1}}, {"a": [{"b": 1}]}, {"a": 1}])
def test_a_value_of_another_form_than_the_shape_is_left_out(value: object) -> None:
    assert keep(value, {"a": [{"c": scalar}]}) in (None, {}, {"a": [{}]})
