"""`osm proxy bootstrap`, run in the test's process."""

import json
from pathlib import Path

import pytest

from osm_probes.pki.ca_folder import load_or_create_authority
from tests.cli.command_result import run_osm
from tests.functional.programs import BOOKSTORE


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, ...]:
    load_or_create_authority(tmp_path, common_name="osm-ca")
    return ("--mesh-dir", str(BOOKSTORE), "--ca-dir", str(tmp_path))


def test_a_bootstrap_contains_the_proxys_name_and_the_ads_address(folders: tuple[str, ...]) -> None:
    words = ("proxy", "bootstrap", "bookstore/bookstore-0", *folders, "--ads-address", "[::1]:15128", "--incremental")
    result = run_osm(*words)
    bootstrap = json.loads(result.out)
    assert result.status == 0
    assert bootstrap["node"]["id"] == "7c2d5a64-0b1e-4f3a-9d72-2f8e4c6a9b12.sidecar.bookstore.bookstore.cluster.local"
    assert bootstrap["dynamic_resources"]["ads_config"]["api_type"] == "DELTA_GRPC"
    assert '"address":"::1","port_value":15128' in result.out.replace(" ", "")


def test_only_its_owner_can_read_a_bootstrap_file(tmp_path: Path, folders: tuple[str, ...]) -> None:
    file = tmp_path / "bootstrap.json"
    file.write_text("old")
    file.chmod(0o644)
    result = run_osm("proxy", "bootstrap", "bookstore-0", *folders, "--output", str(file))
    assert (result.status, result.out) == (0, "")
    assert json.loads(file.read_text())["node"]["cluster"] == "bookstore/bookstore"
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("pod", "flags", "message"),
    [
        ("nobody", (), "nobody is not a pod of the mesh"),
        ("bookstore/bookbuyer-0", (), "pods with a sidecar: bookbuyer/bookbuyer-0, bookstore/bookstore-0"),
        ("bookstore-0", ("--ads-address", "nowhere"), "--ads-address 'nowhere' is not HOST:PORT"),
        ("bookstore-0", ("--mesh-dir", "/no/such/folder"), "/no/such/folder"),
        ("bookstore-0", ("--ca-dir", "/no/such/folder"), "--ca-dir /no/such/folder"),
        ("bookstore-0", ("--output", "/no/such/folder/file"), "--output /no/such/folder/file: No such file"),
    ],
)
def test_wrong_arguments_are_one_error_line(
    pod: str, flags: tuple[str, ...], message: str, folders: tuple[str, ...]
) -> None:
    result = run_osm("proxy", "bootstrap", pod, *folders, *flags)
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith("Error: ")
    assert message in result.err
    assert len(result.err.splitlines()) == 1
