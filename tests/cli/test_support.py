"""`osm version`, `osm completion`, `osm support bug-report`."""

import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from osm_probes import __version__
from tests.cli.command import Said, osm
from tests.cli.live import Live


def test_this_commands_version_needs_no_cluster() -> None:
    said = osm("version", "--client")
    assert said == Said(
        0, f"COMPONENT   NAMESPACE   MESH   VERSION\nosm         -           -      {__version__}\n", ""
    )


@pytest.mark.kubernetes
def test_the_control_planes_tell_their_versions(live: Live) -> None:
    assert osm("version", cluster=live.cluster) == Said(
        0,
        "COMPONENT          NAMESPACE    MESH   VERSION\n"
        f"osm                -            -      {__version__}\n"
        f"osm-controller-0   osm-system   osm    {__version__}\n"
        f"osm-injector-0     osm-system   osm    {__version__}\n",
        "",
    )


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("osm names", ["namespace"]),
        ("osm namespace re", ["remove"]),
        ("osm proxy get con", ["config_dump"]),
        ("osm verify control-plane --fi", ["--fix"]),
    ],
)
def test_bash_completes_words(words: str, completed: list[str]) -> None:
    script = osm("completion", "bash").out
    asked = f"{script}\nCOMP_WORDS=({words}); COMP_CWORD={len(words.split()) - 1}\n_shtab_osm; echo ${{COMPREPLY[@]}}"
    end = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=False, timeout=10)
    assert end.stdout.split() == completed


@pytest.mark.kubernetes
def test_a_bug_report_has_everything_but_secrets(live: Live, tmp_path: Path) -> None:
    file = tmp_path / "report.tar.gz"
    said = osm("support", "bug-report", "--output", str(file), cluster=live.cluster)
    assert (said.status, said.err) == (0, "")
    assert said.out == f"22 files are in {file}: look through it before you give it away\n"
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
    secret = live.cluster.request("GET", "/api/v1/namespaces/osm-system/secrets/osm-ca-bundle")
    key = live.authority().key_pem.decode().splitlines()[1]
    assert not [
        name
        for name, text in texts.items()
        if key in text or "PRIVATE" in text or secret["data"]["private.key"] in text
    ]


def test_a_report_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    kubeconfig = str(tmp_path / "none")
    said = osm("support", "bug-report", "--kubeconfig", kubeconfig)
    assert said == Said(1, "", f"Error: --kubeconfig {kubeconfig}: Configuration file {kubeconfig} not found\n")
