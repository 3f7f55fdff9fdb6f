import dataclasses

from osm_probes.configuration.injector import parse_injector
from osm_probes.runtime.initial_judge_state import injector_judge_state

STANDALONE = parse_injector(["--mesh-dir", "m"], {})
IN_CLUSTER = dataclasses.replace(STANDALONE, shared=dataclasses.replace(STANDALONE.shared, mesh_dir=None))


def test_without_a_cluster_an_injector_has_no_checks_of_the_cluster() -> None:
    assert injector_judge_state(STANDALONE).ready == ("certificate", "bundle", "review")


def test_only_an_injector_that_makes_dry_runs_has_a_check_of_them() -> None:
    checks = ("certificate", "bundle", "review", "configuration", "bootstraps", "api-server")
    assert injector_judge_state(IN_CLUSTER).ready == checks
    with_dry_runs = dataclasses.replace(IN_CLUSTER, dry_run_namespace="dry")
    assert injector_judge_state(with_dry_runs).ready == (*checks, "dry-run")
