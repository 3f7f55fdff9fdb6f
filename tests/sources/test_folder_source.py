import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from osm_probes.foundation.tasks import background_tasks
from osm_probes.mesh.mesh import Mesh
from osm_probes.sources import folder_source
from osm_probes.sources.folder_source import Contents, FolderSource, read, read_mesh, scan
from osm_probes.sources.manifests import ManifestError
from tests.sources.manifests import document, mesh_config, namespace, pod, service, target

EXAMPLE = Path(__file__).parents[2] / "examples" / "bookstore"


def fill(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


@asynccontextmanager
async def watching(folder: Path) -> AsyncIterator[FolderSource]:
    source = FolderSource(folder, mesh_name="osm", every=0.005)
    async with background_tasks(watch=source.run()):
        yield source


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


def count(source: FolderSource) -> int:
    return -1 if source.mesh.value is None else len(source.mesh.value.proxies)


def test_the_example_is_a_mesh_of_two() -> None:
    found = read_mesh(EXAMPLE, mesh_name="osm")
    assert [str(proxy.identity) for proxy in found.proxies.values()] == ["bookbuyer/bookbuyer", "bookstore/bookstore"]
    assert [each.ports[0].endpoints[0].address for each in found.services] == ["10.42.0.11", "10.42.0.12"]


def test_hidden_and_temporary_files_are_left_out(tmp_path: Path) -> None:
    names = [
        "a.yaml",
        "b.yml",
        "c.json",
        "sub/d.yaml",
        ".e.yaml",
        "f.yaml~",
        "#g.yaml#",
        ".#h.yaml",
        "i.yaml.swp",
        "j.txt",
    ]
    for name in [*names, ".git/k.yaml"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.removeprefix(f"{tmp_path}/") for path in scan(tmp_path)] == ["a.yaml", "b.yml", "c.json", "sub/d.yaml"]


def test_links_of_a_mounted_config_map_are_followed(tmp_path: Path) -> None:
    (tmp_path / "..1").mkdir()
    (tmp_path / "..1" / "a.yaml").write_text(namespace())
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    assert list(scan(tmp_path)) == [f"{tmp_path}/a.yaml"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a": service(), "b": service()}, "Service shop/shop is there twice: in {}/a.yaml and in {}/b.yaml"),
        ({"a": f"{pod()}\n---\n{pod()}"}, "Pod shop/shop-0 is there twice: in {}/a.yaml and in {}/a.yaml"),
        ({"a": target(), "b": target()}, "TrafficTarget shop/target is there twice: in {}/a.yaml and in {}/b.yaml"),
        ({"a": mesh_config({}), "b": mesh_config({}, "other")}, "MeshConfig is there twice: in {}/a.yaml and in"),
        (
            {"a": service(), "b": service().replace('"name": "shop"', '"name": "shop2"')},
            "cluster IP 10.96.0.1 is there twice: in {}/a.yaml and in {}/b.yaml",
        ),
        ({"a": "{", "b": "["}, "{}/a.yaml: document 1: while parsing a flow node"),
        ({"a": "x" * (8 * 1024 * 1024 + 1)}, "{}/a.yaml: larger than 8 MiB"),
    ],
)
def test_an_error_names_the_files(tmp_path: Path, files: dict[str, str], words: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read_mesh(fill(tmp_path, **files), mesh_name="osm")
    assert words.replace("{}", str(tmp_path)) in str(caught.value)


def test_too_many_files_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_source, "MOST_FILES", 1)
    with pytest.raises(ManifestError, match="more than 1 manifests"):
        scan(fill(tmp_path, a="", b=""))


async def test_a_missing_folder_is_an_error_at_the_first_read(tmp_path: Path) -> None:
    source = FolderSource(tmp_path / "none", mesh_name="osm")
    with pytest.raises(ManifestError, match="none: No such file or directory"):
        await source.read_once()


async def test_an_empty_folder_is_an_empty_mesh(tmp_path: Path) -> None:
    source = FolderSource(tmp_path, mesh_name="osm")
    assert source.mesh.value is None
    await source.read_once()
    assert source.mesh.value == Mesh()


def test_only_what_changed_is_read_again(tmp_path: Path) -> None:
    fill(tmp_path, a=namespace(), b=pod())
    before = read(scan(tmp_path), known=Contents())
    fill(tmp_path, b=pod(ip="10.42.0.9"))
    after = read(scan(tmp_path), known=before)
    assert [before.files[path] is after.files[path] for path in sorted(after.files)] == [True, False]


async def test_a_change_is_seen(tmp_path: Path) -> None:
    async with watching(fill(tmp_path, a=namespace())) as source:
        await until(lambda: count(source) == 0)
        fill(tmp_path, b=pod())
        await until(lambda: count(source) == 1)
        (tmp_path / "b.yaml").unlink()
        await until(lambda: count(source) == 0)


async def test_a_bad_manifest_is_one_line_and_leaves_the_last_good_mesh_whole(tmp_path: Path) -> None:
    with capture_logs() as lines:
        async with watching(fill(tmp_path, a=namespace(), b=pod())) as source:
            await until(lambda: count(source) == 1)
            fill(tmp_path, b="{", c=pod("shop-1"))
            await until(lambda: source.problem.value)
            os.utime(tmp_path / "b.yaml")
            fill(tmp_path, d=pod("shop-2"))
            await asyncio.sleep(0.1)
            assert count(source) == 1
            assert "b.yaml: document 1: while parsing" in source.problem.value
            fill(tmp_path, b=pod())
            await until(lambda: count(source) == 3)
            assert source.problem.value == ""
    assert [(line["log_level"], line["event"]) for line in lines if line["log_level"] != "debug"] == [
        ("error", "a manifest cannot be used: the last good mesh stays"),
        ("info", "the manifests are good again"),
    ]


async def test_a_folder_that_vanishes_leaves_the_last_good_mesh(tmp_path: Path) -> None:
    folder = tmp_path / "mesh"
    folder.mkdir()
    async with watching(fill(folder, a=namespace(), b=pod())) as source:
        await until(lambda: count(source) == 1)
        folder.rename(tmp_path / "away")
        await until(lambda: source.problem.value)
        assert "No such file or directory" in source.problem.value
        assert count(source) == 1
        (tmp_path / "away").rename(folder)
        await until(lambda: not source.problem.value)


async def test_what_nobody_thought_of_is_an_error_and_leaves_the_last_good_mesh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Mesh:
        raise ZeroDivisionError("of the port")

    with capture_logs() as lines:
        async with watching(fill(tmp_path, a=namespace(), b=pod())) as source:
            await until(lambda: count(source) == 1)
            with monkeypatch.context() as patch:
                patch.setattr(folder_source, "mesh_from_objects", fail)
                fill(tmp_path, c=pod("shop-1"))
                await until(lambda: source.problem.value)
                os.utime(tmp_path / "b.yaml")
                await asyncio.sleep(0.05)
            assert source.problem.value == "the manifests make no mesh: ZeroDivisionError: of the port"
            assert count(source) == 1
            os.utime(tmp_path / "b.yaml")
            await until(lambda: count(source) == 2)
            assert source.problem.value == ""
    assert [line["log_level"] for line in lines if line["log_level"] != "debug"] == ["error", "info"]


async def test_a_file_name_that_is_no_text_can_be_told(tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xff.yaml")
    for text in ("{", f"{service()}\n---\n{service()}"):
        (tmp_path / odd).write_text(text)
        source = FolderSource(tmp_path, mesh_name="osm")
        with pytest.raises(ManifestError, match=r"\\udcff.yaml") as caught:
            await source.read_once()
        assert str(caught.value).encode()


def test_a_folder_name_that_is_no_text_can_be_told(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"\\udcff: No such file") as caught:
        read_mesh(tmp_path / os.fsdecode(b"\xff"), mesh_name="osm")
    assert str(caught.value).encode()


async def test_a_service_account_that_is_left_out_is_told_once(tmp_path: Path) -> None:
    misleading = "6f2f2c3e-0d4b-4b3c-9d8f-0a1b2c3d4e5f.canary.foo"
    with capture_logs() as lines:
        async with watching(fill(tmp_path, a=namespace(), b=document("ServiceAccount", misleading))) as source:
            await until(lambda: count(source) == 0)
            fill(tmp_path, c=pod())
            await until(lambda: count(source) == 1)
    told = [line for line in lines if line["log_level"] == "error"]
    assert [line["service_account"] for line in told] == [f"shop/{misleading}"]


async def test_a_policy_without_effect_is_told_once(tmp_path: Path) -> None:
    with capture_logs() as lines:
        async with watching(fill(tmp_path, a=namespace(), b=target())) as source:
            await until(lambda: count(source) == 0)
            fill(tmp_path, c=pod())
            await until(lambda: count(source) == 1)
    told = [(line["policy"], line["reason"]) for line in lines if line["log_level"] == "warning"]
    assert told == [("TrafficTarget shop/target", "spec.rules: there is none")]
