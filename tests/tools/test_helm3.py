"""`helm3` returns a given Helm or explains why there is none; tests/tools/test_kubernetes_binaries.py covers builds."""

from pathlib import Path

import pytest

from tools.go_programs import NoProgramError
from tools.helm3 import helm3


def test_a_given_helm_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "helm").touch(0o755)
    monkeypatch.setenv("OSM_HELM3", str(tmp_path / "helm"))
    assert helm3() == tmp_path / "helm"


def test_a_given_file_that_is_not_executable_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSM_HELM3", str(tmp_path / "helm"))
    with pytest.raises(NoProgramError, match=r"OSM_HELM3=.*/helm is not an executable file"):
        helm3()


def test_without_go_the_error_explains_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSM_HELM3", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NoProgramError, match="building Helm 3 needs Go: install Go, or set OSM_HELM3"):
        helm3()
