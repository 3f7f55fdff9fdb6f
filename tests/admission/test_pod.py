import pytest

from osm_probes.admission.pod import MalformedPodError, decode_pod
from osm_probes.mesh.identity import Identity
from tests.admission.pods import encoded, pod


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"null", "Expected `object`, got `null`"),
        (encoded({"metadata": {}}), "missing required field `spec`"),
        (encoded(pod({"name": 1})), r"Expected `str`, got `int` - at `\$\.spec\.containers\[0\]\.name`"),
        (encoded(pod(metadata={"labels": {"a": 1}})), r"at `\$\.metadata\.labels\[\.\.\.\]`"),
        (encoded(pod())[:-1] + b',"x":' + b"[" * 100_000, "maximum recursion depth"),
    ],
)
def test_an_invalid_pod_is_an_error_that_names_the_field(body: bytes, reason: str) -> None:
    with pytest.raises(MalformedPodError, match=reason):
        decode_pod(body)


def test_a_pods_identity_is_its_service_account_in_the_namespace_of_the_request() -> None:
    original = decode_pod(encoded(pod(serviceAccountName="robot", metadata={"namespace": "elsewhere"})))
    assert original.identity("bookstore") == Identity("bookstore", "robot")
