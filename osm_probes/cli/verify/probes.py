"""Check `Probe …`: the health probes of a pod succeed, as `osm probe` shows them."""

from typing import Final

from osm_probes.cli.pod_probes import PodProbes, ProbeAnswer
from osm_probes.cli.verify.result import Result, failure, success, unknown, warning
from osm_probes.cli.verify.webhook import REPAIR_BUNDLE

_SUGGESTIONS: Final = {
    "alive": "Kubernetes restarts the container; the line `the program hangs` in its log has the stack traces",
    "bundle": REPAIR_BUNDLE,
}
"""By the name of a failed probe, or of a failed check of a probe."""


def check_probes(pod: PodProbes) -> list[Result]:
    """Check each probe of a pod."""
    return [_check_probe(answer) for answer in pod.probes]


def _check_probe(answer: ProbeAnswer) -> Result:
    name = f"Probe {answer.probe}"
    verdict = answer.verdict
    if answer.not_asked:
        return unknown(name, answer.not_asked)
    if verdict is None:
        return failure(name, f"no response: {answer.no_response}")
    if verdict.healthy:
        return warning(name, *verdict.warnings) if verdict.warnings else success(name)
    failed = [check for check in verdict.checks if not check.healthy]
    reasons = [f"{check.name}: {check.reason}" for check in failed] or ["the probe fails and gives no reason"]
    names = (answer.probe, *(check.name for check in failed))
    suggestions = dict.fromkeys(_SUGGESTIONS[key] for key in names if key in _SUGGESTIONS)
    return failure(name, *reasons, *verdict.warnings, suggestions=list(suggestions))
