import os
from pathlib import Path

import pytest

from osm_probes.kube.connect import connect, find_kubeconfig
from osm_probes.kube.errors import UnusableKubeconfigError

_SERVER = "clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}]"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "not found"),
        ("current-context: a", "clusters"),
        ("clusters: [", "while parsing"),
        ("[]", "is not a kubeconfig: it must be a map"),
        ("", "is not a kubeconfig: it must be a map"),
        ("clusters: !!bool maybe", "document 1, line 1: 'maybe' is not of the type !!bool"),
        ("clusters: !!timestamp foo", "the tag '!!timestamp' is not supported"),
        ("clusters: !!int ''", "'' is not of the type !!int"),
        ("[" * 100_000, "nested too deep"),
        ("a: &a {<<: *a}", "the alias *a is inside its own anchor"),
        ("\xff" * 8_000_000 + "\xff", "is larger than 8 MiB"),
        ("clusters: 7\ncontexts: []", "not a kubeconfig"),
        ("clusters: [7]\ncontexts: []", "not a kubeconfig"),
        (f"{_SERVER}\ncontexts: [{{name: a, context: {{cluster: a}}}}]\ncurrent-context: [a]", "not a kubeconfig"),
        (f"{_SERVER}\ncontexts: []\ncurrent-context: b", "Context 'b' not found"),
        (f"{_SERVER}\ncontexts: [{{name: a, context: {{cluster: c}}}}]\ncurrent-context: a", "'c' is missing"),
        (f"{_SERVER}\ncontexts: [{{name: a, context: {{cluster: [1]}}}}]\ncurrent-context: a", "cluster"),
    ],
)
async def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path: Path, content: str | None, reason: str) -> None:
    file = tmp_path / "config"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UnusableKubeconfigError) as error:
        connect(str(file))
    assert reason in str(error.value)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


async def test_a_kubeconfig_of_any_bytes_is_named(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_bytes(b"\xff")
    with pytest.raises(UnusableKubeconfigError, match="line 1: byte 0xff is not UTF-8"):
        connect(str(file))


async def test_outside_of_a_cluster_a_kubeconfig_is_required() -> None:
    with pytest.raises(UnusableKubeconfigError, match=r"neither --kubeconfig nor --mesh-dir .* and this is no pod"):
        connect()


def _kubeconfig(file: Path, name: str, *, current: str = "") -> Path:
    file.write_text(
        f"clusters: [{{name: a, cluster: {{server: 'https://{name}:1'}}}}]\n"
        f"users: [{{name: a, user: {{token: {name}}}}}]\n"
        f"contexts: [{{name: {name}, context: {{cluster: a, user: a}}}}]\n"
        + (f"current-context: {current}\n" * bool(current))
    )
    return file


@pytest.mark.parametrize(
    ("context", "server"), [(None, "https://two:1"), ("one", "https://one:1"), ("two", "https://two:1")]
)
async def test_the_first_of_several_files_that_contains_the_context_is_used(
    tmp_path: Path, context: str | None, server: str
) -> None:
    files = [
        _kubeconfig(tmp_path / "1", "one"),
        tmp_path / "missing",
        _kubeconfig(tmp_path / "2", "two", current="two"),
    ]
    async with connect(os.pathsep.join(map(str, files)), context=context) as client:
        assert str(client._http.base_url) == server


def test_a_command_finds_its_kubeconfig_like_kubectl(tmp_path: Path) -> None:
    def find(flag: str, environment: dict[str, str]) -> str:
        return find_kubeconfig(flag, environment=environment, home=tmp_path)

    with pytest.raises(UnusableKubeconfigError, match="no cluster is configured: give --kubeconfig"):
        find("", {})
    standard = tmp_path / ".kube" / "config"
    standard.parent.mkdir()
    standard.touch()
    assert find("", {}) == str(standard)
    assert find("", {"KUBECONFIG": ":a:b:"}) == "a:b"
    assert find("given", {"KUBECONFIG": "a"}) == "given"
