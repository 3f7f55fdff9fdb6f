"""What a pod says about itself: its probes, when its certificates end, its version."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from osm_probes.cli.probe_client import PodProbes, ProbeAnswer
from osm_probes.cli.verify.result import Result, Status, failure, unknown, warning
from osm_probes.foundation.durations import age
from osm_probes.kube.errors import KubernetesError

_EXPIRY: Final = re.compile(r'^osm_certificate_expiry_seconds\{kind="([^"]+)"\} (\S+)$', re.MULTILINE)
# Leaves are renewed at two thirds of their life, by themselves; a root needs a person.
_ROOT_SOON: Final = 30 * 86400.0
_LEAF_SOON: Final = 300.0
_CURES: Final = {
    "alive": "Kubernetes restarts it; the line `the program hangs` in its log has the stacks",
    "bundle": "osm-injector puts the CA bundle right where it may: see its permissions and its log",
}


def judge_probes(answers: PodProbes) -> Iterator[Result]:
    """Each probe with the reasons of its checks."""
    return (_judge_probe(answer) for answer in answers.probes)


def _judge_probe(answer: ProbeAnswer) -> Result:
    name = f"Probe {answer.probe}"
    verdict = answer.verdict
    if answer.not_asked:
        return unknown(name, answer.not_asked)
    if verdict is None:
        return failure(name, f"no response: {answer.no_response}")
    failing = [check for check in verdict.checks if not check.healthy]
    if not verdict.healthy:
        reasons = [f"{check.name}: {check.reason}" for check in failing] or ["it says no"]
        cures = dict.fromkeys(_CURES[key] for key in (answer.probe, *(each.name for each in failing)) if key in _CURES)
        return failure(name, *reasons, *verdict.warnings, do=list(cures))
    return warning(name, *verdict.warnings) if verdict.warnings else Result(name=name)


def judge_certificates(metrics: str | KubernetesError) -> Result:
    """The certificates in use, by the pod's metrics."""
    name = "Certificates"
    if isinstance(metrics, KubernetesError):
        return unknown(name, f"/metrics: {metrics.needing('get pods/proxy')}")
    left = {kind: float(seconds) for kind, seconds in _EXPIRY.findall(metrics)}
    if not left:
        return unknown(name, "the pod does not tell when its certificates end")
    ended = [f"the {kind} certificate ended {age(-seconds)} ago" for kind, seconds in left.items() if seconds <= 0]
    soon = [
        f"the {kind} certificate ends in {age(seconds)}" for kind, seconds in left.items() if _is_soon(kind, seconds)
    ]
    do = ["put another pair into the Secret of the CA: docs/certificate-authority.md"]
    root = any(kind == "root" and seconds < _ROOT_SOON for kind, seconds in left.items())
    if ended:
        return failure(name, *ended, *soon, do=do if root else [])
    return warning(name, *soon, do=do if root else []) if soon else Result(name=name)


def _is_soon(kind: str, seconds: float) -> bool:
    return 0 < seconds < (_ROOT_SOON if kind == "root" else _LEAF_SOON)


def judge_versions(versions: Mapping[str, str]) -> Result:
    """What runs, what was installed, and this command: `versions` by whose they are, "" where it is not known."""
    known = {name: version.removeprefix("v") for name, version in versions.items() if version}
    if len(set(known.values())) <= 1:
        return Result(name="Versions")
    told = ", ".join(f"{name} is {version}" for name, version in known.items())
    return Result(name="Versions", status=Status.WARNING, reasons=(told,), suggestions=("upgrade what is behind",))
