import pytest

from osm_probes.admission.redirect import redirect_rules
from osm_probes.cli.objects import Container, Metadata, Pod, PodIP, PodSpec, PodStatus
from osm_probes.cli.verify.ipv6_rules import check_ipv6_rules
from osm_probes.cli.verify.result import Status
from osm_probes.kube.errors import ForbiddenError

OLD = "iptables-restore --noflush <<'EOF'\n*nat\nCOMMIT\nEOF\n"
NEW = redirect_rules().script


def injected(name: str, *addresses: str, script: str = OLD, init: str = "osm-init", phase: str = "Running") -> Pod:
    spec = PodSpec(init_containers=[Container("migrate"), Container(init, args=["-c", script])])
    return Pod(Metadata(name, "shop"), spec, PodStatus(phase, pod_ips=[PodIP(address) for address in addresses]))


@pytest.mark.parametrize(
    "pod",
    [
        injected("a", "10.0.0.1"),
        injected("a", "10.0.0.1", "fd00::1", script=NEW),
        injected("a", "fd00::1", init="other"),
        injected("a", "fd00::1", phase="Succeeded"),
        injected("a"),
    ],
    ids=["IPv4 only", "new rules", "no sidecar", "has terminated", "no address yet"],
)
def test_other_pods_are_not_listed(pod: Pod) -> None:
    assert check_ipv6_rules([pod]).status is Status.SUCCESS


def test_a_pod_with_ipv6_that_was_injected_without_ipv6_rules_is_listed() -> None:
    result = check_ipv6_rules([injected("b", "10.0.0.2", "fd00::2"), injected("a", "fd00::1")])
    assert result.status is Status.WARNING
    assert result.reasons == (
        "shop/a: no policy applies to connections to fd00::1",
        "shop/b: no policy applies to connections to fd00::2",
    )
    assert result.suggestions == ("create these pods again: kubectl rollout restart deployment -n shop",)


def test_at_most_twenty_pods_are_listed() -> None:
    result = check_ipv6_rules([injected(f"pod-{number:02}", "fd00::1") for number in range(23)])
    assert len(result.reasons) == 21
    assert result.reasons[-1] == "and 3 more pods"


def test_pods_that_cannot_be_listed_are_unknown() -> None:
    result = check_ipv6_rules(ForbiddenError("no"))
    assert (result.status, result.reasons) == (Status.UNKNOWN, ("no; its user must be allowed to list pods",))
