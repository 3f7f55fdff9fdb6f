import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from osm_probes.foundation.tasks import background_tasks
from osm_probes.mesh.mesh import Mesh
from osm_probes.mesh.source import Step
from osm_probes.sources import folder_source
from osm_probes.sources.folder_source import FolderContents, FolderSource, read_files, read_mesh, scan_folder
from osm_probes.sources.manifests import ManifestError
from tests.log_capture import capture_logs
from tests.sources.manifests import document, mesh_config, namespace, pod, service, target

EXAMPLE = Path(__file__).parents[2] / "examples" / "bookstore"


def write_files(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


@asynccontextmanager
async def watching(folder: Path) -> AsyncIterator[FolderSource]:
    source = FolderSource(folder, mesh_name="osm", every=0.005)
    async with background_tasks(watch=source.run()):
        yield source


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.005)


def proxy_count(source: FolderSource) -> int:
    return -1 if source.mesh.value is None else len(source.mesh.value.proxies)


def test_the_example_has_two_services_and_two_proxies() -> None:
    mesh = read_mesh(EXAMPLE, mesh_name="osm")
    assert [str(proxy.identity) for proxy in mesh.proxies.values()] == ["bookbuyer/bookbuyer", "bookstore/bookstore"]
    assert [service.ports[0].endpoints[0].address for service in mesh.services] == ["10.42.0.11", "10.42.0.12"]


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
    assert [path.removeprefix(f"{tmp_path}/") for path in scan_folder(tmp_path)] == [
        "a.yaml",
        "b.yml",
        "c.json",
        "sub/d.yaml",
    ]


def test_the_links_of_a_mounted_config_map_are_followed(tmp_path: Path) -> None:
    (tmp_path / "..1").mkdir()
    (tmp_path / "..1" / "a.yaml").write_text(namespace())
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    assert list(scan_folder(tmp_path)) == [f"{tmp_path}/a.yaml"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a": service(), "b": service()}, "Service shop/shop is defined twice: in {}/a.yaml and in {}/b.yaml"),
        ({"a": f"{pod()}\n---\n{pod()}"}, "Pod shop/shop-0 is defined twice: in {}/a.yaml and in {}/a.yaml"),
        ({"a": target(), "b": target()}, "TrafficTarget shop/target is defined twice: in {}/a.yaml and in {}/b.yaml"),
        ({"a": mesh_config({}), "b": mesh_config({}, "other")}, "MeshConfig is defined twice: in {}/a.yaml and in"),
        (
            {"a": service(), "b": service().replace('"name": "shop"', '"name": "shop2"')},
            "cluster IP 10.96.0.1 is defined twice: in {}/a.yaml and in {}/b.yaml",
        ),
        ({"a": "{", "b": "["}, "{}/a.yaml: document 1, line 1: while parsing a flow node"),
        ({"a": "x" * (8 * 1024 * 1024 + 1)}, "{}/a.yaml: larger than 8 MiB"),
    ],
)
def test_an_error_names_the_files(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read_mesh(write_files(tmp_path, **files), mesh_name="osm")
    assert expected.replace("{}", str(tmp_path)) in str(caught.value)


def test_too_many_files_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_source, "MAX_FILES", 1)
    with pytest.raises(ManifestError, match="more than 1 manifests"):
        scan_folder(write_files(tmp_path, a="", b=""))


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="none: No such file or directory"):
        read_mesh(tmp_path / "none", mesh_name="osm")


async def test_an_empty_folder_is_an_empty_mesh(tmp_path: Path) -> None:
    assert FolderSource(tmp_path, mesh_name="osm").mesh.value is None
    async with watching(tmp_path) as source:
        await until(lambda: source.mesh.value is not None)
        assert source.mesh.value == Mesh()


def test_only_what_changed_is_read_again(tmp_path: Path) -> None:
    write_files(tmp_path, a=namespace(), b=pod())
    before = read_files(scan_folder(tmp_path), previous=FolderContents())
    write_files(tmp_path, b=pod(ip="10.42.0.9"))
    after = read_files(scan_folder(tmp_path), previous=before)
    assert [before.files[path] is after.files[path] for path in sorted(after.files)] == [True, False]


async def test_a_change_is_read(tmp_path: Path) -> None:
    async with watching(write_files(tmp_path, a=namespace())) as source:
        await until(lambda: proxy_count(source) == 0)
        write_files(tmp_path, b=pod())
        await until(lambda: proxy_count(source) == 1)
        (tmp_path / "b.yaml").unlink()
        await until(lambda: proxy_count(source) == 0)


async def test_an_invalid_manifest_is_logged_once_and_the_last_good_mesh_stays(tmp_path: Path) -> None:
    with capture_logs() as lines:
        async with watching(write_files(tmp_path, a=namespace(), b=pod())) as source:
            await until(lambda: proxy_count(source) == 1)
            write_files(tmp_path, b="{", c=pod("shop-1"))
            await until(lambda: source.problem.value)
            os.utime(tmp_path / "b.yaml")
            write_files(tmp_path, d=pod("shop-2"))
            await asyncio.sleep(0.1)
            assert proxy_count(source) == 1
            assert "b.yaml: document 1, line 1: while parsing" in str(source.problem.value)
            write_files(tmp_path, b=pod())
            await until(lambda: proxy_count(source) == 3)
            assert not source.problem.value
    assert [(line["log_level"], line["event"]) for line in lines if line["log_level"] != "debug"] == [
        ("error", "a manifest is invalid: the last good mesh stays in use"),
        ("info", "the manifests are valid again"),
    ]


async def test_the_last_good_mesh_stays_if_the_folder_disappears(tmp_path: Path) -> None:
    folder = tmp_path / "mesh"
    folder.mkdir()
    async with watching(write_files(folder, a=namespace(), b=pod())) as source:
        await until(lambda: proxy_count(source) == 1)
        folder.rename(tmp_path / "away")
        await until(lambda: source.problem.value)
        assert "No such file or directory" in str(source.problem.value)
        assert proxy_count(source) == 1
        (tmp_path / "away").rename(folder)
        await until(lambda: not source.problem.value)


async def test_the_last_good_mesh_stays_if_all_manifests_disappear_until_one_says_that_the_mesh_is_empty(
    tmp_path: Path,
) -> None:
    write_files(tmp_path, a=namespace(), b=pod("shop-0"))
    async with watching(tmp_path) as source:
        await until(lambda: proxy_count(source) == 1)
        for name in ("a", "b"):
            (tmp_path / f"{name}.yaml").unlink()
        await until(lambda: bool(source.problem.value))
        assert "all manifests are gone" in str(source.problem.value)
        assert "leave one manifest there, such as a MeshConfig" in str(source.problem.value)
        assert proxy_count(source) == 1
        write_files(tmp_path, c=mesh_config({}))
        await until(lambda: proxy_count(source) == 0)
        assert not source.problem.value


async def test_a_change_is_on_its_way_until_the_publisher_takes_it_and_an_invalid_one_is_not(tmp_path: Path) -> None:
    write_files(tmp_path, a=namespace(), b=pod("shop-0"))
    async with watching(tmp_path) as source:
        await until(lambda: proxy_count(source) == 1)
        assert source.updates.oldest() is not None
        source.updates.remove(Step.READ)
        await until(lambda: source.updates.oldest() is None)
        write_files(tmp_path, b="kind: [")
        await until(lambda: bool(source.problem.value))
        await until(lambda: source.updates.oldest() is None)
        write_files(tmp_path, b=pod("shop-1"))
        await until(lambda: not source.problem.value)
        await until(lambda: source.updates.oldest() == (Step.READ, ANY))


async def test_a_folder_that_does_not_answer_is_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    answer.set()
    scan = folder_source.scan_folder

    def waiting(folder: Path) -> dict[str, folder_source.FileStamp]:
        assert answer.wait(10)
        return scan(folder)

    monkeypatch.setattr(folder_source, "scan_folder", waiting)
    async with watching(tmp_path) as source:
        await until(lambda: proxy_count(source) == 0)
        source.updates.remove(Step.READ)
        answer.clear()
        await until(lambda: source.updates.oldest() is not None)
        await asyncio.sleep(0.1)
        assert source.updates.oldest() == (Step.LOOKING, ANY)
        answer.set()
        await until(lambda: source.updates.oldest() is None)


async def test_an_unforeseen_error_is_reported_and_the_last_good_mesh_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Mesh:
        raise ZeroDivisionError("of the port")

    with capture_logs() as lines:
        async with watching(write_files(tmp_path, a=namespace(), b=pod())) as source:
            await until(lambda: proxy_count(source) == 1)
            with monkeypatch.context() as patch:
                patch.setattr(folder_source, "mesh_from_objects", fail)
                write_files(tmp_path, c=pod("shop-1"))
                await until(lambda: source.problem.value)
                os.utime(tmp_path / "b.yaml")
                await asyncio.sleep(0.05)
            assert str(source.problem.value) == "the mesh cannot be built: ZeroDivisionError: of the port"
            assert proxy_count(source) == 1
            os.utime(tmp_path / "b.yaml")
            await until(lambda: proxy_count(source) == 2)
            assert not source.problem.value
    assert [line["log_level"] for line in lines if line["log_level"] != "debug"] == ["error", "info"]


def test_a_file_name_that_is_not_unicode_is_reported(tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xff.yaml")
    for text in ("{", f"{service()}\n---\n{service()}"):
        (tmp_path / odd).write_text(text)
        with pytest.raises(ManifestError, match=r"\\udcff.yaml") as caught:
            read_mesh(tmp_path, mesh_name="osm")
        assert str(caught.value).encode()


def test_a_folder_name_that_is_not_unicode_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"\\udcff: No such file") as caught:
        read_mesh(tmp_path / os.fsdecode(b"\xff"), mesh_name="osm")
    assert str(caught.value).encode()


async def test_an_ambiguous_service_account_is_logged_once(tmp_path: Path) -> None:
    ambiguous = "6f2f2c3e-0d4b-4b3c-9d8f-0a1b2c3d4e5f.canary.foo"
    with capture_logs() as lines:
        async with watching(write_files(tmp_path, a=namespace(), b=document("ServiceAccount", ambiguous))) as source:
            await until(lambda: proxy_count(source) == 0)
            write_files(tmp_path, c=pod())
            await until(lambda: proxy_count(source) == 1)
    logged = [line for line in lines if line["log_level"] == "error"]
    assert [line["service_account"] for line in logged] == [f"shop/{ambiguous}"]


async def test_a_policy_without_effect_is_logged_once(tmp_path: Path) -> None:
    with capture_logs() as lines:
        async with watching(write_files(tmp_path, a=namespace(), b=target())) as source:
            await until(lambda: proxy_count(source) == 0)
            write_files(tmp_path, c=pod())
            await until(lambda: proxy_count(source) == 1)
    logged = [(line["policy"], line["reason"]) for line in lines if line["log_level"] == "warning"]
    assert logged == [("TrafficTarget shop/target", "spec.rules is empty")]
