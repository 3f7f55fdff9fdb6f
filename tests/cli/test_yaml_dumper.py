import pytest
import yaml

from osm_probes.cli.yaml_dumper import Dumper
from osm_probes.foundation.yaml_loader import load_yaml


@pytest.mark.parametrize(
    "text",
    ["1234e56", "1e3", "0o17", "010", "1_0", "12", "y", "N", "yes", "off", "null", "", "1:30", "2024-01-01", "<<"],
)
def test_a_text_that_looks_like_another_value_is_quoted(text: str) -> None:
    written = yaml.dump({"a": text}, Dumper=Dumper)
    assert written in {f"a: '{text}'\n", f'a: "{text}"\n'}
    (document,) = load_yaml(written.encode())
    assert document.value == {"a": text}


def test_other_values_are_not_quoted() -> None:
    value = {"a": "v1.2", "b": 12, "c": 1.5, "d": True, "e": "yesterday", "f": [0, -1, 1e20]}
    written = yaml.dump(value, Dumper=Dumper)
    (document,) = load_yaml(written.encode())
    assert document.value == value
    assert "'" not in written
