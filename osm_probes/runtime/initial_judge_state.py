"""The state that the judge of each program starts with: its checks and its readiness paths."""

from typing import Final

from msgspec import structs

from osm_probes.configuration.injector import InjectorConfiguration
from osm_probes.health.judge_state import JudgeState
from osm_probes.mesh.ports import DEBUG_PROXIES_PATH, HEALTHZ_PATH, READY_PATH

CONTROLLER = JudgeState(
    alive="ads",
    ready=("ads", "mesh", "updates", "certificates", "capacity", "draining"),
    ready_bodies={READY_PATH: "Service is ready"},
    debug_pages={DEBUG_PROXIES_PATH: "proxies"},
)
"""A controller's state at its start."""

INJECTOR = JudgeState(
    alive="webhook",
    ready=("certificate", "bundle", "review"),
    ready_bodies={READY_PATH: "Service is ready", HEALTHZ_PATH: "Health OK"},
)
"""The state at its start of an injector without a cluster."""

_CLUSTER_CHECKS: Final = ("configuration", "bootstraps", "api-server")


def injector_judge_state(configuration: InjectorConfiguration) -> JudgeState:
    """An injector's state at its start; the checks depend on whether there is a cluster, and on its dry runs."""
    if configuration.shared.mesh_dir is not None:
        return INJECTOR
    dry_run = ("dry-run",) if configuration.dry_run_namespace else ()
    return structs.replace(INJECTOR, ready=(*INJECTOR.ready, *_CLUSTER_CHECKS, *dry_run))
