"""Where there is no Helm 3 the tool says why; how one is built is tested with the API server's."""

from pathlib import Path

import pytest

from tools.go_programs import NoProgramError
from tools.helm3 import helm3


def test_a_given_helm_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "helm").touch(0o755)
    monkeypatch.setenv("OSM_HELM3", str(tmp_path / "helm"))
    assert helm3() == tmp_path / "helm"


def test_a_given_helm_that_is_no_program_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSM_HELM3", str(tmp_path / "helm"))
    with pytest.raises(NoProgramError, match=r"OSM_HELM3=.*/helm is not a program"):
        helm3()


def test_without_go_nothing_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSM_HELM3", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NoProgramError, match="no Go to build Helm 3 with: install it, or set OSM_HELM3"):
        helm3()
