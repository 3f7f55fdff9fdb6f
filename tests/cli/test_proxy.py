import json
import sys
from pathlib import Path

import pytest

from osm_probes.cli.main import main
from osm_probes.pki.ca_folder import load_or_create_authority
from tests.functional.programs import BOOKSTORE, ended


def _osm(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    try:
        main(words)
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, ...]:
    load_or_create_authority(tmp_path, common_name="osm-ca")
    return ("--mesh-dir", str(BOOKSTORE), "--ca-dir", str(tmp_path))


def test_a_bootstrap_names_its_proxy_and_its_control_plane(
    folders: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("proxy", "bootstrap", "bookstore/bookstore-0", *folders, "--ads-address", "[::1]:15128", "--incremental")
    status, out, _ = _osm(*words, capsys=capsys)
    bootstrap = json.loads(out)
    assert status == 0
    assert bootstrap["node"]["id"] == "7c2d5a64-0b1e-4f3a-9d72-2f8e4c6a9b12.sidecar.bookstore.bookstore.cluster.local"
    assert bootstrap["dynamic_resources"]["ads_config"]["api_type"] == "DELTA_GRPC"
    assert '"address":"::1","port_value":15128' in out.replace(" ", "")


def test_a_bootstrap_in_a_file_is_its_owners_alone(
    tmp_path: Path, folders: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bootstrap.json"
    file.write_text("old")
    file.chmod(0o644)
    status, out, _ = _osm("proxy", "bootstrap", "bookstore-0", *folders, "--output", str(file), capsys=capsys)
    assert (status, out) == (0, "")
    assert json.loads(file.read_text())["node"]["cluster"] == "bookstore/bookstore"
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("pod", "flags", "word"),
    [
        ("nobody", (), "nobody is no pod of the mesh"),
        ("bookstore/bookbuyer-0", (), "there are: bookbuyer/bookbuyer-0, bookstore/bookstore-0"),
        ("bookstore-0", ("--ads-address", "nowhere"), "--ads-address 'nowhere' is not HOST:PORT"),
        ("bookstore-0", ("--mesh-dir", "/no/such/folder"), "/no/such/folder"),
        ("bookstore-0", ("--ca-dir", "/no/such/folder"), "--ca-dir /no/such/folder"),
        ("bookstore-0", ("--output", "/no/such/folder/file"), "--output /no/such/folder/file: No such file"),
    ],
)
def test_a_users_mistake_is_one_error_line(
    pod: str,
    flags: tuple[str, ...],
    word: str,
    folders: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, out, err = _osm("proxy", "bootstrap", pod, *folders, *flags, capsys=capsys)
    assert (status, out) == (1, "")
    assert err.startswith("Error: ")
    assert word in err
    assert len(err.splitlines()) == 1


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = _osm(capsys=capsys)
    assert status == 0
    assert "proxy" in out


def test_help_loads_nothing_heavy() -> None:
    end = ended("python", ["-X", "importtime", str(Path(sys.executable).with_name("osm")), "--help"])
    assert end.returncode == 0
    loaded = end.stderr
    assert not any(name in loaded for name in ("grpc", "envoy", "cryptography", "aiohttp", "structlog"))
