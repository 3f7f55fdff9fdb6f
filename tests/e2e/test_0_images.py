"""The images: their contents, labels, SBOM and health check, and the restrictions under which they run."""

import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from osm_probes import __version__
from tests.e2e.cluster import Cluster
from tests.e2e.images import APPS_IMAGE
from tools.images import IMAGES, INIT, PROGRAMS, ROOT, Builder, Image, builder

NAMESPACE: Final = "alone"
EXAMPLE: Final = ROOT / "examples" / "bookstore"
_HASHED: Final = 0b01  # PEP 552: hash-based and unchecked, so Python does not compare it with the source
# The user is neither root nor the image's own, because some platforms assign one.
_RESTRICTED: Final[dict[str, Any]] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsGroup": 0,
    "runAsNonRoot": True,
    "runAsUser": 1000660000,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture(scope="module")
def standalone(cluster: Cluster) -> Iterator[str]:
    """A pod with both programs on the example mesh, under the strictest restrictions."""
    metadata = {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    files = {path.name: path.read_text() for path in EXAMPLE.iterdir()}
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mesh", "namespace": NAMESPACE}, "data": files},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "both", "namespace": NAMESPACE}, "spec": _both()},
    )
    cluster.kubectl("wait", "pod/both", f"--namespace={NAMESPACE}", "--for=condition=Ready", "--timeout=60s", within=70)
    yield "both"
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def _both() -> dict[str, Any]:
    mounts = [{"name": "mesh", "mountPath": "/mesh"}, {"name": "ca", "mountPath": "/ca"}]
    ports = {"osm-controller": 9091, "osm-injector": 9095}
    containers = [
        {
            "name": program,
            "image": PROGRAMS.tag,
            "command": [f"/{program}"],
            "args": ["--mesh-dir=/mesh", "--ca-dir=/ca", f"--http-port={port}"],
            "readinessProbe": {"httpGet": {"path": "/health/ready", "port": port}, "periodSeconds": 1},
            "securityContext": _RESTRICTED,
            "volumeMounts": mounts,
        }
        for program, port in ports.items()
    ]
    volumes = [{"name": "mesh", "configMap": {"name": "mesh"}}, {"name": "ca", "emptyDir": {}}]
    return {"containers": containers, "volumes": volumes}


def configuration(archive: Path) -> dict[str, Any]:
    """The configuration of an image."""
    with tarfile.open(archive) as file:
        (manifest,) = json.load(_opened(file, "manifest.json"))
        config: dict[str, Any] = json.load(_opened(file, manifest["Config"]))
    return config


def files(archive: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """The names and contents of an image's files whose names match the pattern."""
    with tarfile.open(archive) as file:
        (manifest,) = json.load(_opened(file, "manifest.json"))
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=_opened(file, layer)) as members:
                for member in members:
                    if member.isfile() and re.search(pattern, member.name):
                        yield member.name, _opened(members, member).read()


def _opened(file: tarfile.TarFile, member: str | tarfile.TarInfo) -> Any:
    return file.extractfile(member)


@pytest.mark.parametrize(("image", "megabytes"), [(PROGRAMS, 250), (INIT, 10)])
def test_an_image_is_within_its_size_limit(built: dict[str, Path], image: Image, megabytes: int) -> None:
    assert built[image.tag].stat().st_size < megabytes * 1e6


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_an_image_has_the_standard_labels_and_an_unprivileged_user(built: dict[str, Path], image: Image) -> None:
    config = configuration(built[image.tag])["config"]
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in config["Labels"].items()}
    assert (labels["title"], labels["version"]) == (image.name, __version__)
    assert {"created", "description", "licenses", "revision"} <= labels.keys()
    assert re.fullmatch("[0-9a-f]{40}", labels["revision"])
    assert config["User"] == "65532:65532"


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_an_image_contains_no_configuration_of_the_build_machine(built: dict[str, Path], image: Image) -> None:
    left = [name for name, text in files(built[image.tag], r"^(etc/(apt/.*(list|sources)|pip\.conf)$|run/)") if text]
    assert not left
    history = " ".join(layer.get("created_by", "") for layer in configuration(built[image.tag])["history"])
    assert "://" not in history


class _WithoutCache(Builder):
    def _build(self, *arguments: str) -> None:
        super()._build("--no-cache", *arguments)


@pytest.mark.usefixtures("built")
def test_two_builds_of_the_init_image_have_the_same_digest() -> None:
    program = builder().program
    if program != "buildah":
        pytest.skip("the digest is read with buildah")

    def digest() -> str:
        _WithoutCache(program).build(INIT)
        command = [program, "inspect", "--type=image", "--format", "{{.FromImageDigest}}", INIT.tag]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    assert digest() == digest()


def test_all_modules_are_compiled_to_unchecked_bytecode(built: dict[str, Path]) -> None:
    sources = {name for name, _ in files(built[PROGRAMS.tag], r"^opt/osm/.*/osm_probes/.*\.py$")}
    flags = {name: text[4] for name, text in files(built[PROGRAMS.tag], r"^opt/osm/.*\.pyc$")}
    assert sources == {
        re.sub(r"__pycache__/(.*)\.cpython-.*", r"\1.py", name) for name in flags if "/osm_probes/" in name
    }
    assert not {name: flag for name, flag in flags.items() if flag != _HASHED}


def test_the_sbom_lists_the_locked_python_packages() -> None:
    components = json.loads((ROOT / "dist" / f"{PROGRAMS.name}.cdx.json").read_text())["components"]
    packages = (component for component in components if component["purl"].startswith("pkg:pypi/"))
    python = {package["name"]: package["version"] for package in packages}
    lock = (ROOT / "requirements" / "runtime.lock").read_text()
    locked = re.findall(r"^([a-z0-9-]+)==([^ ]+) (;?)", lock, re.MULTILINE)
    # A package with an environment marker may not be installed on this platform.
    required = {(name, version) for name, version, marker in locked if not marker}
    assert required <= python.items() - {(PROGRAMS.name, __version__)} <= {package[:2] for package in locked}


def test_the_init_images_sbom_lists_iptables() -> None:
    components = json.loads((ROOT / "dist" / f"{INIT.name}.cdx.json").read_text())["components"]
    assert {"dash", "iptables", "libc6"} <= {component["name"] for component in components}


def test_both_programs_become_ready_as_any_user_with_a_read_only_root_and_no_capabilities(
    cluster: Cluster, standalone: str
) -> None:
    for container in cluster.get("pod", standalone, f"--namespace={NAMESPACE}")["status"]["containerStatuses"]:
        status = cluster.node.run("cat", f"/proc/{cluster.node.pid(container['containerID'])}/status")
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert fields["Uid"].split() == ["1000660000"] * 4
        assert {int(fields[kind], 16) for kind in ("CapEff", "CapPrm", "CapBnd")} == {0}


def test_the_images_health_check_passes_if_the_program_is_alive(
    built: dict[str, Path], cluster: Cluster, standalone: str
) -> None:
    command = _health_check(built)
    cluster.kubectl("exec", standalone, f"--namespace={NAMESPACE}", "--container=osm-controller", "--", *command)


def test_the_images_health_check_fails_if_nothing_listens(built: dict[str, Path], cluster: Cluster) -> None:
    flags = (f"--image={APPS_IMAGE}", "--image-pull-policy=Never", "--restart=Never")
    cluster.kubectl("run", "deaf", *flags, "--command", "--", *_health_check(built))
    cluster.kubectl("wait", "pod/deaf", "--for=jsonpath={.status.phase}=Failed", "--timeout=30s")
    assert "ConnectionRefusedError" in cluster.kubectl("logs", "deaf")


def _health_check(built: dict[str, Path]) -> list[str]:
    kind, *command = configuration(built[PROGRAMS.tag])["config"]["Healthcheck"]["Test"]
    assert kind == "CMD"
    return [str(word) for word in command]
