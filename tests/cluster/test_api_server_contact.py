import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from osm_probes.cluster.api_server_contact import ApiServerContact
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.connect import connect
from osm_probes.kube.contact import Contact
from osm_probes.kube.errors import UnreachableError

START = datetime(2026, 11, 29, 1, 2, 3, tzinfo=UTC)


class Clocks:
    """Monotonic and wall-clock time, which the test moves."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return 1000.0 + self.passed

    def now(self) -> datetime:
        return START + timedelta(seconds=self.passed)


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    """A kubeconfig of an API server that does not exist."""
    context = {"name": "x", "context": {"cluster": "x", "user": "x"}}
    clusters = [{"name": "x", "cluster": {"server": "http://127.0.0.1:1"}}]
    document = {
        "contexts": [context],
        "clusters": clusters,
        "users": [{"name": "x", "user": {}}],
        "current-context": "x",
    }
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(document))
    return file


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def client(kubeconfig: Path, clocks: Clocks) -> KubernetesClient:
    client = connect(str(kubeconfig))
    client.contact = Contact(clock=clocks.monotonic)
    return client


@pytest.fixture
def contact(client: KubernetesClient, clocks: Clocks) -> ApiServerContact:
    return ApiServerContact(client, osm_namespace="osm-system", now=clocks.now)


def test_an_api_server_that_is_away_is_no_problem_and_verbose_says_since_when(
    client: KubernetesClient, contact: ApiServerContact, clocks: Clocks
) -> None:
    client.contact.record_failure()
    contact.update()
    assert not contact.unknown.value
    clocks.passed = 12
    contact.update()
    assert contact.unknown.value.summary == (
        "the API server cannot be reached since 2026-11-29T01:02:03Z: whether pods can be created is unknown"
    )
    assert not contact.problem.value


def test_a_review_after_10_s_of_failures_is_evidence_until_the_first_response(
    client: KubernetesClient, contact: ApiServerContact, clocks: Clocks
) -> None:
    client.contact.record_failure()
    clocks.passed = 10
    contact.review_arrived()
    assert "reviews arrive" in contact.problem.value.summary
    assert "since 2026-11-29T01:02:03Z" in contact.problem.value.summary
    assert not contact.unknown.value
    clocks.passed = 500
    contact.update()
    assert contact.problem.value
    client.contact.record_response()
    contact.update()
    assert not contact.problem.value
    client.contact.record_failure()
    clocks.passed = 600
    contact.update()
    assert not contact.problem.value  # the evidence of the time before is over


def test_a_review_before_is_no_evidence_because_it_may_have_been_sent_before_the_api_server_went_away(
    client: KubernetesClient, contact: ApiServerContact, clocks: Clocks
) -> None:
    client.contact.record_failure()
    clocks.passed = 9
    contact.review_arrived()
    clocks.passed = 30
    contact.update()
    assert not contact.problem.value


async def test_each_request_of_a_client_and_of_its_copies_counts(client: KubernetesClient, clocks: Clocks) -> None:
    with pytest.raises(UnreachableError):
        await client.with_timeout(2).request("GET", "/version")
    clocks.passed = 3
    with pytest.raises(UnreachableError):
        await client.request("GET", "/version")
    assert client.contact.failing_for == 3
    await client.close()
