from osm_probes.cli.pod_probes import PodProbes, ProbeAnswer
from osm_probes.cli.verify.probes import check_probes
from osm_probes.cli.verify.result import Status
from osm_probes.health.verdict import CheckVerdict, Verdict


def test_a_failed_probe_has_the_reasons_of_its_failed_checks() -> None:
    checks = [
        CheckVerdict("ads", healthy=False, reason="refused", seconds=0.1),
        CheckVerdict("mesh", healthy=True, reason="", seconds=0),
    ]
    failed = ProbeAnswer(probe="ready", verdict=Verdict("ready", healthy=False, checks=checks, warnings=["old mesh"]))
    warned = ProbeAnswer(probe="ready", verdict=Verdict("ready", healthy=True, warnings=["old mesh"]))
    failed_without_checks = ProbeAnswer(probe="alive", verdict=Verdict("alive", healthy=False))
    no_response = ProbeAnswer(probe="alive", no_response="EOF")
    forbidden = ProbeAnswer(probe="alive", not_asked="forbidden")
    answers = (failed, warned, failed_without_checks, no_response, forbidden)
    assert [(result.status, result.reasons) for result in check_probes(PodProbes("a", "b", "c", answers))] == [
        (Status.FAILURE, ("ads: refused", "old mesh")),
        (Status.WARNING, ("old mesh",)),
        (Status.FAILURE, ("the probe fails and gives no reason",)),
        (Status.FAILURE, ("no response: EOF",)),
        (Status.UNKNOWN, ("forbidden",)),
    ]
