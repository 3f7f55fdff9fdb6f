import msgspec
import pytest

from osm_probes.kube.client import Response
from osm_probes.kube.dry_run import Outcome, dry_run_from_response

# The texts are those of Kubernetes. Some need objects that a new API server no longer accepts, such as a webhook
# without dry runs.
NO_DRY_RUN = 'admission webhook "old.example.org" does not support dry run'
DENIED = 'admission webhook "policy.example.org" denied the request: no'
NOT_CALLED = 'Internal error occurred: failed calling webhook "policy.example.org": failed to call webhook: timeout'
QUOTA = 'secrets "a" is forbidden: exceeded quota: none, requested: secrets=1, used: secrets=0, limited: secrets=0'
TERMINATING = 'secrets "a" is forbidden: unable to create new content in namespace b because it is being terminated'


@pytest.mark.parametrize(
    ("status", "message", "outcome"),
    [
        (201, "", Outcome.CREATED),
        (403, QUOTA, Outcome.REFUSED),
        (403, TERMINATING, Outcome.UNKNOWN),
        (400, NO_DRY_RUN, Outcome.UNKNOWN),
        (400, DENIED, Outcome.REFUSED),
        (500, NOT_CALLED, Outcome.REFUSED),
        (500, "etcdserver: mvcc: database space exceeded", Outcome.BROKEN),
        (503, "", Outcome.BROKEN),
        (429, "too many requests", Outcome.UNKNOWN),
        (404, 'namespaces "b" not found', Outcome.UNKNOWN),
    ],
)
def test_a_response_says_who_refuses_the_object(status: int, message: str, outcome: Outcome) -> None:
    assert dry_run_from_response(Response(status, msgspec.json.encode({"message": message}))).outcome is outcome


def test_a_response_of_another_server_is_shown_as_text() -> None:
    assert dry_run_from_response(Response(502, b"<html>Bad Gateway</html>")).text == "<html>Bad Gateway</html>"
    assert dry_run_from_response(Response(502, b"")).text == "HTTP status 502"
