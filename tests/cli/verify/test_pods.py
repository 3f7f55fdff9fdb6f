import pytest

from osm_probes.cli.objects import Pod
from osm_probes.cli.verify.pods import warn_of_inactive_pod
from tests.cli.objects import controller_pod


@pytest.mark.parametrize(
    ("pod", "reason", "suggestions"),
    [
        (
            controller_pod("a", phase="Failed"),
            "it has terminated (Failed)",
            ("kubectl delete pod -n osm-system a",),
        ),
        (controller_pod("a", deleted_at="2026-03-01T12:00:00Z"), "it is being deleted", ()),
    ],
)
def test_an_inactive_pod_is_a_warning(pod: Pod, reason: str, suggestions: tuple[str, ...]) -> None:
    result = warn_of_inactive_pod(pod)
    assert (result.reasons, result.suggestions) == ((reason,), suggestions)
