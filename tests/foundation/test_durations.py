import pytest

from osm_probes.foundation.durations import age, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("24h", 86400.0), ("1h30m", 5400.0), ("500ms", 0.5), ("1.5s", 1.5), (".5m", 30.0), ("0s", 0.0)],
)
def test_durations_are_parsed_as_go_writes_them(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "h", "1h 30m", "-1s", "1d", "1s" * 40, "nan", "infs"])
def test_any_other_text_is_an_error_that_names_it(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0s"),
        (0.9, "0s"),
        (119, "119s"),
        (120, "2m"),
        (7199, "119m"),
        (7200, "2h"),
        (172799, "47h"),
        (200000, "2d"),
    ],
)
def test_an_age_has_kubectls_form(seconds: float, text: str) -> None:
    assert age(seconds) == text
