from pathlib import Path

import pytest

from osm_probes.kube.connect import connect
from osm_probes.kube.errors import UnusableKubeconfigError

_SERVER = "clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}]"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "not found"),
        ("current-context: a", "clusters"),
        ("clusters: [", "while parsing"),
        ("[]", "kubeconfig"),
        (f"{_SERVER}\ncontexts: []\ncurrent-context: b", "Context 'b' not found"),
        (f"{_SERVER}\ncontexts: [{{name: a, context: {{cluster: c}}}}]\ncurrent-context: a", "'c' is missing"),
        (f"{_SERVER}\ncontexts: [{{name: a, context: {{cluster: [1]}}}}]\ncurrent-context: a", "cluster"),
    ],
)
async def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path: Path, content: str | None, words: str) -> None:
    file = tmp_path / "config"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UnusableKubeconfigError) as error:
        connect(str(file))
    assert words in str(error.value)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


async def test_outside_of_a_cluster_a_kubeconfig_is_asked_for() -> None:
    with pytest.raises(UnusableKubeconfigError, match=r"no --kubeconfig .* and this is no pod"):
        connect()
