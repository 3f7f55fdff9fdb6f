"""`osm support bug-report`."""

import json
import tarfile
from pathlib import Path

import pytest

from tests.cli.command_result import CommandResult, run_osm
from tests.cli.planted_secrets import Planted
from tests.cli.running_control_plane import RunningControlPlane
from tests.kubernetes.manifests import install


@pytest.mark.kubernetes
def test_a_bug_report_contains_the_state_but_no_secrets(control_plane: RunningControlPlane, tmp_path: Path) -> None:
    file = tmp_path / "report.tar.gz"
    result = run_osm("support", "bug-report", "--output", str(file), cluster=control_plane.cluster)
    assert (result.status, result.err) == (0, "")
    assert result.out == f"wrote 22 files to {file}: review them before you share the archive\n"
    assert file.stat().st_mode & 0o777 == 0o600
    with tarfile.open(file) as archive:
        archive.extractall(tmp_path, filter="data")
        texts = {name: (tmp_path / name).read_text() for name in archive.getnames()}
    pod = "osm-bug-report/osm-system/osm-controller-0"
    assert sorted(name.removeprefix("osm-bug-report/") for name in texts) == [
        *("about.txt", "namespaces.json"),
        *(
            f"osm-system/{name}"
            for name in ("deployments.json", "endpointslices.json", "events.json", "meshconfigs.json")
        ),
        *(
            f"osm-system/osm-controller-0/{name}"
            for name in (
                *("debug-proxies.txt", "health-alive.txt", "health-ready.txt", "metrics.txt"),
                *("osm-controller.log", "probes.json"),
            )
        ),
        *(
            f"osm-system/osm-injector-0/{name}"
            for name in ("health-alive.txt", "health-ready.txt", "metrics.txt", "osm-injector.log", "probes.json")
        ),
        *("osm-system/pods.json", "osm-system/services.json", "verify.json", "verify.txt", "webhooks.json"),
    ]
    assert texts[f"{pod}/debug-proxies.txt"] == '200\n{"count":0,"proxies":[]}'
    assert texts[f"{pod}/health-ready.txt"].endswith("[+]draining ok\nService is ready")
    assert '"message":"listening"' in texts[f"{pod}/osm-controller.log"]
    assert "osm_program_up 1.0" in texts[f"{pod}/metrics.txt"]
    assert json.loads(texts[f"{pod}/probes.json"])["probes"][1]["verdict"]["transitions"] is not None
    secret = control_plane.cluster.request("GET", "/api/v1/namespaces/osm-system/secrets/osm-ca-bundle")
    key = control_plane.authority().key_pem.decode().splitlines()[1]
    assert not [
        name
        for name, text in texts.items()
        if key in text or "PRIVATE" in text or secret["data"]["private.key"] in text
    ]


@pytest.mark.kubernetes
def test_no_place_of_an_object_brings_a_secret_into_the_archive(
    control_plane: RunningControlPlane, tmp_path: Path
) -> None:
    """Objects of a control plane with a secret in each place that the API server permits, and a log with some."""
    cluster = control_plane.cluster
    planted = Planted()
    objects = planted.objects()
    install(cluster, objects)
    control_plane.kubelet.logs["osm-controller-planted", "osm-controller"] = tmp_path / "log"
    (tmp_path / "log").write_text(planted.log())
    control_plane.kubelet.logs["osm-controller-planted", "added"] = tmp_path / "added"
    (tmp_path / "added").write_text(f'{{"level":"error","message":"{planted.secret("log of another container")}"}}\n')
    file = tmp_path / "report.tar.gz"
    try:
        assert run_osm("support", "bug-report", "--output", str(file), cluster=cluster).status == 0
    finally:
        for document in reversed(objects):
            cluster.delete(document)
    with tarfile.open(file) as archive:
        contents = {member.name: archive.extractfile(member).read().decode() for member in archive if member.isfile()}  # type: ignore[union-attr]
    everything = "\n".join([*contents, *contents.values()])
    assert planted.found_in(everything) == {}
    (pod,) = [
        pod
        for pod in json.loads(contents["osm-bug-report/planted/pods.json"])
        if pod["metadata"]["name"] == "osm-controller-planted"
    ]
    container = pod["spec"]["containers"][0]
    assert container["args"] == [
        "--verbosity=info",
        "--vault-token=[removed]",
        "--vault-token",
        "…",
        "…",
        "--no-such-flag=…",
    ]
    assert container["env"][0] == {"name": "PASSWORD", "value": "…"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/health/alive", "port": 9091, "scheme": "HTTP"}
    assert container["resources"] == {"requests": {"cpu": "100m"}}
    assert pod["metadata"]["labels"] == {"app": "osm-controller", "meshName": "planted", "team": "…"}
    assert "kubectl.kubernetes.io/last-applied-configuration" in pod["metadata"]["annotations"]
    assert pod["metadata"]["ownerReferences"][0]["name"] == "osm-controller"
    log = contents["osm-bug-report/planted/osm-controller-planted/osm-controller.log"]
    assert '"message":"it runs"' in log
    assert log.count("[removed]") == 6


def test_a_missing_kubeconfig_is_an_error(tmp_path: Path) -> None:
    kubeconfig = str(tmp_path / "none")
    result = run_osm("support", "bug-report", "--kubeconfig", kubeconfig)
    assert result == CommandResult(
        1, "", f"Error: --kubeconfig {kubeconfig}: Configuration file {kubeconfig} not found\n"
    )
