from pathlib import Path

import pytest

from osm_probes.configuration.controller import parse_controller
from osm_probes.configuration.flag_parser import WrongFlagsError

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


def test_mesh_dir_needs_no_other_flag() -> None:
    shared = parse_controller(["--mesh-dir", "mesh"]).shared
    assert (shared.mesh_dir, shared.mesh_name, shared.osm_namespace) == (Path("mesh"), "osm", "osm-system")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--mesh-name, --osm-namespace, --ca-bundle-secret-name"),
        (["--mesh-dir", "m", "--no-such-flag"], "unrecognized arguments: --no-such-flag"),
        (["--mesh-dir", "m", "--ads-port", "65536"], "'65536' is not a port between 0 and 65535"),
        (["--mesh-dir", "m", "--ads-port=-1"], "'-1' is not a whole number of 0 or more"),
        (["--mesh-dir", "m", "--bind-address", "localhost"], "'localhost' is not an IP address"),
        (["--mesh-dir", "m", "--grace", "5 apples"], "'5 apples' is not a duration such as"),
        (["--mesh-dir", "m", "--grace", "25h"], "'25h' is not between 0 and 24h"),
        (["--mesh-dir", "m", "--grace", "nan"], "'nan' is not a duration such as"),
        (["--mesh-dir", "m", "--grace", "5s", "--drain-delay", "5s"], "--drain-delay 5 must be below --grace 5"),
        (["--mesh-dir", "m", "--enable-reconciler=maybe"], "'maybe' is not true or false"),
        (["--mesh-dir", "m", "--mesh-name", "Mesh"], "'Mesh' is not a name"),
        (["--mesh-dir", "m", "--mesh-name", "a.b"], "'a.b' is not a name of at most 63"),
        (["--mesh-dir", "m", "--osm-namespace", "a" * 64], "is not a name of at most 63"),
        (["--mesh-dir", "m", "--osm-namespace", ""], "'' is not a name of at most 63"),
        (["--mesh-dir", "m", "--trust-domain", "a..b"], "'a..b' is not a domain such as cluster.local"),
        (
            ["--mesh-dir", "m", "--trust-domain", "svc.cluster.local"],
            "'svc.cluster.local' is the domain of Service names",
        ),
        (["--mesh-dir", ""], "argument --mesh-dir: '' is not a folder"),
        (["--mesh-dir", "m", "--ca-dir="], "argument --ca-dir: '' is not a folder"),
        (["--mesh-dir", "m", "-v", "loud"], "invalid choice: 'loud'"),
        (["--mesh-dir", "m", "--mesh", "osm"], "unrecognized arguments: --mesh (1 without a flag's name)"),
    ],
)
def test_a_wrong_flag_exits_with_status_2_and_an_error_message(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        parse_controller(flags)
    assert exit_info.value.code == 2
    stderr = capsys.readouterr().err
    assert message in stderr
    assert stderr.startswith("usage: osm-controller")


@pytest.mark.parametrize(("text", "value"), [("5", 5.0), ("0.5", 0.5), ("500ms", 0.5), ("1m30s", 90.0), ("2h", 7200.0)])
def test_a_duration_is_a_number_of_seconds_or_has_the_form_of_go(text: str, value: float) -> None:
    assert parse_controller(["--mesh-dir", "m", "--drain-delay", "0", "--grace", text]).shared.grace == value


@pytest.mark.parametrize("columns", [80, 120])
def test_the_help_fits_the_terminal_and_has_examples(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit) as exit_info:
        parse_controller(["--help"])
    page = capsys.readouterr().out
    assert exit_info.value.code == 0
    assert "--mesh-dir DIR" in page
    assert "examples:" in page
    assert max(map(len, page.splitlines())) <= columns


def test_the_help_states_the_default_of_each_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_controller(["--help"])
    flags = [flag for flag in capsys.readouterr().out.split("\n  --")[1:] if not flag.startswith("version")]
    assert len(flags) > 20
    assert not [flag for flag in flags if "default: " not in " ".join(flag.split())]


@pytest.mark.parametrize("given", [["--vault-tokn=hush"], ["--vault-tokn", "hush"], ["hush"], ["-xhush"]])
def test_the_value_of_an_unknown_flag_is_not_in_the_message(
    given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WrongFlagsError) as caught:
        parse_controller(["--mesh-dir", "m", *given])
    assert "unrecognized arguments: " in caught.value.message
    assert "hush" not in caught.value.message, "the message becomes an Event"
    assert "hush" not in capsys.readouterr().err
