import os
import subprocess
import sys
from pathlib import Path

import pytest

from osm_probes.pki.authority import Authority
from osm_probes.pki.ca_folder import AuthorityFolderError, load_authority, load_or_create_authority


def test_the_first_start_creates_the_ca_and_the_second_loads_it(tmp_path: Path) -> None:
    folder = tmp_path / "ca"
    first = load_or_create_authority(folder, common_name="osm-ca")
    assert load_or_create_authority(folder, common_name="osm-ca").root_pem == first.root_pem
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "ca.crt": 0o600,
        "private.key": 0o600,
    }


def test_a_mismatched_key_is_refused_and_nothing_is_overwritten(tmp_path: Path) -> None:
    load_or_create_authority(tmp_path, common_name="osm-ca")
    foreign = Authority.create("other").key_pem
    (tmp_path / "private.key").write_bytes(foreign)
    before = (tmp_path / "ca.crt").read_bytes()
    with pytest.raises(AuthorityFolderError, match="does not belong to the root certificate"):
        load_or_create_authority(tmp_path, common_name="osm-ca")
    assert (tmp_path / "private.key").read_bytes() == foreign
    assert (tmp_path / "ca.crt").read_bytes() == before


@pytest.mark.parametrize("missing", ["ca.crt", "private.key"])
def test_a_missing_file_of_the_pair_is_refused(tmp_path: Path, missing: str) -> None:
    load_or_create_authority(tmp_path, common_name="osm-ca")
    (tmp_path / missing).unlink()
    with pytest.raises(AuthorityFolderError, match=f"{missing}: No such file"):
        load_or_create_authority(tmp_path, common_name="osm-ca")
    assert not (tmp_path / missing).exists()


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ca"
    path.write_text("not a folder")
    with pytest.raises(AuthorityFolderError, match="--ca-dir"):
        load_or_create_authority(path, common_name="osm-ca")


def test_processes_that_start_at_the_same_time_get_the_same_ca(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys\n"
        "from osm_probes.pki.ca_folder import load_or_create_authority\n"
        "authority = load_or_create_authority(pathlib.Path(sys.argv[1]), common_name='osm-ca')\n"
        "sys.stdout.buffer.write(authority.root_pem)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "ca")]
    programs = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]
    roots = {program.communicate(timeout=30)[0] for program in programs}
    assert len(roots) == 1
    assert roots.pop().startswith(b"-----BEGIN CERTIFICATE-----")


def test_an_error_about_a_folder_name_that_is_not_utf_8_can_be_printed(tmp_path: Path) -> None:
    with pytest.raises(AuthorityFolderError, match=r"\\udcff: ca.crt: No such file") as caught:
        load_authority(tmp_path / os.fsdecode(b"\xff"))
    assert str(caught.value).encode()
