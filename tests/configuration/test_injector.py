from pathlib import Path

import pytest

from osm_probes.configuration.injector import parse_injector

_UPSTREAM_CHART = [
    "--verbosity", "info", "--osm-namespace", "osm-system", "--mesh-name", "osm",
    "--webhook-config-name", "osm-webhook-osm", "--webhook-timeout", "20", "--ca-bundle-secret-name", "osm-ca-bundle",
    "--certificate-manager", "tresor", "--osm-container-pull-policy", "IfNotPresent", "--enable-reconciler=false",
    "--trust-domain", "cluster.local",
]  # fmt: skip


def test_the_flags_of_upstreams_chart_are_accepted() -> None:
    configuration = parse_injector(_UPSTREAM_CHART, {})
    assert (configuration.webhook_config_name, configuration.pull_policy) == ("osm-webhook-osm", "IfNotPresent")


def test_the_images_of_a_sidecar_come_from_the_environment() -> None:
    environment = {"OSM_DEFAULT_SIDECAR_IMAGE": "envoy:1", "OSM_DEFAULT_INIT_CONTAINER_IMAGE": "init:1"}
    configuration = parse_injector(["--mesh-dir", "m"], environment)
    assert (configuration.sidecar_image, configuration.init_image) == ("envoy:1", "init:1")


def test_an_empty_image_in_the_environment_counts_as_unset() -> None:
    environment = {"OSM_DEFAULT_SIDECAR_IMAGE": "", "OSM_DEFAULT_INIT_CONTAINER_IMAGE": ""}
    assert parse_injector(["--mesh-dir", "m"], environment) == parse_injector(["--mesh-dir", "m"], {})


@pytest.mark.parametrize(
    ("flags", "native"), [([], False), (["--native-sidecars"], True), (["--native-sidecars=true"], True)]
)
def test_sidecars_are_native_only_with_the_flag(flags: list[str], native: bool) -> None:  # noqa: FBT001 - a table's column
    assert parse_injector(["--mesh-dir", "m", *flags], {}).native_sidecars is native


def test_dry_runs_need_the_name_of_a_namespace(capsys: pytest.CaptureFixture[str]) -> None:
    for flags, namespace in (([], ""), (["--dry-run-namespace="], ""), (["--dry-run-namespace", "dry"], "dry")):
        assert parse_injector(["--mesh-dir", "m", *flags], {}).dry_run_namespace == namespace
    with pytest.raises(SystemExit):
        parse_injector(["--mesh-dir", "m", "--dry-run-namespace=a/b"], {})
    assert "argument --dry-run-namespace: 'a/b' is not a name" in capsys.readouterr().err


def test_reviews_of_all_clients_are_answered_without_a_client_ca() -> None:
    assert parse_injector(["--mesh-dir", "m"], {}).client_ca is None
    assert parse_injector(["--mesh-dir", "m", "--client-ca=ca.crt"], {}).client_ca == Path("ca.crt")


def test_an_empty_client_ca_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_injector(["--mesh-dir", "m", "--client-ca="], {})
    assert "argument --client-ca: '' is not a file" in capsys.readouterr().err


@pytest.mark.parametrize("columns", [80, 120])
def test_the_help_fits_the_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit):
        parse_injector(["--help"], {})
    assert max(map(len, capsys.readouterr().out.splitlines())) <= columns
