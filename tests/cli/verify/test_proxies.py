from datetime import UTC, datetime

from osm_probes.cli.verify.proxies import check_proxies
from osm_probes.cli.verify.result import Status
from osm_probes.kube.errors import KubernetesError
from osm_probes.mesh.proxy_status import ConnectedProxies, ProxyStatus, RejectedVersion, UnansweredVersion

SINCE = datetime(2026, 11, 29, 1, 2, 3, tzinfo=UTC)
REJECTED = RejectedVersion("RDS", "3f2a", "no such filter", SINCE)


def proxy(
    pod: str = "bookstore-0", *, rejecting: RejectedVersion | None = None, stuck: UnansweredVersion | None = None
) -> ProxyStatus:
    """A connected proxy."""
    return ProxyStatus(
        uuid="7c2d",
        namespace="bookstore",
        service_account="bookstore",
        pod=pod,
        protocol="Incremental",
        connected=60,
        accepted={},
        rejecting=[rejecting] if rejecting else [],
        stuck=[stuck] if stuck else [],
    )


def test_proxies_without_a_problem_are_a_success_even_after_a_rejection_that_is_over() -> None:
    assert check_proxies(ConnectedProxies(1, [proxy()])).status is Status.SUCCESS


def test_a_warning_names_pod_type_reason_and_since_when() -> None:
    result = check_proxies(ConnectedProxies(1, [proxy(rejecting=REJECTED)]))
    assert result.status is Status.WARNING
    assert result.reasons == (
        "bookstore/bookstore-0: RDS is old since 2026-11-29T01:02:03Z: the proxy rejected version 3f2a: no such filter",
    )


def test_a_response_without_an_answer_is_a_warning() -> None:
    stuck = UnansweredVersion("SDS", "3f2a", 300)
    result = check_proxies(ConnectedProxies(1, [proxy(stuck=stuck)]))
    assert result.reasons == (
        "bookstore/bookstore-0: SDS is unanswered for 5m: the proxy gets no updates of this type",
    )


def test_at_most_ten_problems_are_shown() -> None:
    proxies = [proxy(f"bookstore-{number}", rejecting=REJECTED) for number in range(25)]
    reasons = check_proxies(ConnectedProxies(25, proxies)).reasons
    assert len(reasons) == 11
    assert reasons[-1] == "and 15 more"


def test_proxies_that_cannot_be_listed_are_unknown() -> None:
    result = check_proxies(KubernetesError("no response"))
    assert (result.status, result.reasons) == (Status.UNKNOWN, ("no response",))
