from pathlib import Path

import pytest

from osm_probes.configuration.controller import parse_controller

_UPSTREAM_CHART = [
    "--verbosity", "info", "--osm-namespace", "osm-system", "--osm-service-account", "osm", "--mesh-name", "osm",
    "--validator-webhook-config", "osm-validator-mesh-osm", "--ca-bundle-secret-name", "osm-ca-bundle",
    "--certificate-manager", "tresor", "--enable-reconciler=false", "--validate-traffic-target=true", "--vault-host",
    "vault", "--vault-port=8200", "--vault-protocol", "http", "--cert-manager-issuer-name", "osm-ca",
    "--cert-manager-issuer-kind", "Issuer", "--cert-manager-issuer-group", "cert-manager.io", "--osm-version",
    "v1.3.9", "--osm-config-name", "osm-mesh-config", "--trust-domain", "cluster.local", "--vault-token", "x",
    "--vault-role", "r", "--vault-token-secret-name", "n", "--vault-token-secret-key", "k",
    "--enable-mesh-root-certificate=true",
]  # fmt: skip


def test_the_flags_of_upstreams_chart_are_accepted() -> None:
    configuration = parse_controller(_UPSTREAM_CHART)
    assert (configuration.shared.mesh_name, configuration.ads_port) == ("osm", 15128)
    assert configuration.shared.mesh_dir is None


def test_a_mesh_folder_needs_nothing_beside_it() -> None:
    shared = parse_controller(["--mesh-dir", "mesh"]).shared
    assert (shared.mesh_dir, shared.mesh_name, shared.osm_namespace) == (Path("mesh"), "osm", "osm-system")


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ([], "--mesh-name, --osm-namespace, --ca-bundle-secret-name"),
        (["--mesh-dir", "m", "--no-such-flag"], "unrecognized arguments: --no-such-flag"),
        (["--mesh-dir", "m", "--ads-port", "65536"], "'65536' is no port"),
        (["--mesh-dir", "m", "--ads-port=-1"], "'-1' is no whole number"),
        (["--mesh-dir", "m", "--bind-address", "localhost"], "'localhost' is no IP address"),
        (["--mesh-dir", "m", "--grace", "5 apples"], "'5 apples' is no duration"),
        (["--mesh-dir", "m", "--grace", "25h"], "'25h' is not between 0 and 24h"),
        (["--mesh-dir", "m", "--grace", "nan"], "'nan' is no duration"),
        (["--mesh-dir", "m", "--grace", "5s", "--drain-delay", "5s"], "--drain-delay 5 must be below --grace 5"),
        (["--mesh-dir", "m", "--enable-reconciler=maybe"], "'maybe' is neither true nor false"),
        (["--mesh-dir", "m", "--mesh-name", "Mesh"], "'Mesh' is no name"),
        (["--mesh-dir", "m", "--mesh-name", "a.b"], "'a.b' is no name of at most 63"),
        (["--mesh-dir", "m", "--osm-namespace", "a" * 64], "is no name of at most 63"),
        (["--mesh-dir", "m", "--osm-namespace", ""], "'' is no name of at most 63"),
        (["--mesh-dir", "m", "--trust-domain", "a..b"], "'a..b' is no domain"),
        (
            ["--mesh-dir", "m", "--trust-domain", "svc.cluster.local"],
            "'svc.cluster.local' is where services' names are",
        ),
        (["--mesh-dir", ""], "argument --mesh-dir: '' is no folder"),
        (["--mesh-dir", "m", "--ca-dir="], "argument --ca-dir: '' is no folder"),
        (["--mesh-dir", "m", "-v", "loud"], "invalid choice: 'loud'"),
        (["--mesh-dir", "m", "--mesh", "osm"], "unrecognized arguments: --mesh"),
    ],
)
def test_a_wrong_flag_ends_with_2_and_says_what_is_wrong(
    flags: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        parse_controller(flags)
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert word in said
    assert said.startswith("usage: osm-controller")


@pytest.mark.parametrize(("text", "value"), [("5", 5.0), ("0.5", 0.5), ("500ms", 0.5), ("1m30s", 90.0), ("2h", 7200.0)])
def test_durations_are_seconds_or_gos_form(text: str, value: float) -> None:
    assert parse_controller(["--mesh-dir", "m", "--drain-delay", "0", "--grace", text]).shared.grace == value


def test_the_help_is_a_page_with_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse_controller(["--help"])
    page = capsys.readouterr().out
    assert end.value.code == 0
    assert "--mesh-dir DIR" in page
    assert "examples:" in page
    assert max(map(len, page.splitlines())) <= 120
