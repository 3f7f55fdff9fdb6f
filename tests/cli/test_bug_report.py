"""`osm support bug-report`."""

import json
import tarfile
from pathlib import Path

import pytest

from tests.cli.command_result import CommandResult, run_osm
from tests.cli.running_control_plane import RunningControlPlane


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
    assert sorted(texts) == [
        "osm-bug-report/about.txt",
        "osm-bug-report/namespaces.json",
        "osm-bug-report/osm-system/endpointslices.json",
        "osm-bug-report/osm-system/events.json",
        "osm-bug-report/osm-system/osm-controller-0/debug-proxies.txt",
        "osm-bug-report/osm-system/osm-controller-0/health-alive.txt",
        "osm-bug-report/osm-system/osm-controller-0/health-ready.txt",
        "osm-bug-report/osm-system/osm-controller-0/metrics.txt",
        "osm-bug-report/osm-system/osm-controller-0/osm-controller.log",
        "osm-bug-report/osm-system/osm-controller-0/pod.json",
        "osm-bug-report/osm-system/osm-controller-0/probes.json",
        "osm-bug-report/osm-system/osm-deployments.json",
        *(
            f"osm-bug-report/osm-system/osm-injector-0/{name}"
            for name in (
                *("health-alive.txt", "health-ready.txt", "metrics.txt"),
                *("osm-injector.log", "pod.json", "probes.json"),
            )
        ),
        "osm-bug-report/osm-system/services.json",
        "osm-bug-report/verify.json",
        "osm-bug-report/verify.txt",
        "osm-bug-report/webhooks.json",
    ]
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


def test_a_missing_kubeconfig_is_an_error(tmp_path: Path) -> None:
    kubeconfig = str(tmp_path / "none")
    result = run_osm("support", "bug-report", "--kubeconfig", kubeconfig)
    assert result == CommandResult(
        1, "", f"Error: --kubeconfig {kubeconfig}: Configuration file {kubeconfig} not found\n"
    )
