"""The state that the judge of each program starts with: its checks and its readiness paths."""

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
"""An injector's state at its start."""
