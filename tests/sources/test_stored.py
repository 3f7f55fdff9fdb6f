import json

import pytest

from osm_probes.sources.manifests import ManifestError, decoder_of
from osm_probes.sources.objects import EndpointSlice, MeshConfig, Pod
from tests.sources import manifests


def test_an_object_is_read_as_from_a_file() -> None:
    pod = decoder_of(Pod)(manifests.pod().encode())
    assert pod is not None
    assert (pod.spec.service_account_name, pod.status.pod_ip) == ("seller", "10.42.0.1")


def test_null_is_unset() -> None:
    # As the API server writes an empty slice.
    content = json.loads(manifests.slice_of()) | {"endpoints": None, "ports": None}
    found = decoder_of(EndpointSlice)(json.dumps(content).encode())
    assert found is not None
    assert (found.endpoints, found.ports) == ([], [])


def test_a_slice_of_names_is_of_no_concern() -> None:
    content = json.loads(manifests.slice_of({"addresses": ["example.com"]})) | {"addressType": "FQDN"}
    assert decoder_of(EndpointSlice)(json.dumps(content).encode()) is None


def test_what_cannot_be_used_is_named_by_its_field() -> None:
    content = manifests.mesh_config({"certificate": {"serviceCertValidityDuration": "soon"}}).encode()
    with pytest.raises(ManifestError, match=r"spec.certificate.serviceCertValidityDuration: 'soon'"):
        decoder_of(MeshConfig)(content)


@pytest.mark.parametrize("content", [b"", b"[]", b"{"])
def test_no_object_is_an_error_and_no_crash(content: bytes) -> None:
    with pytest.raises(ManifestError):
        decoder_of(Pod)(content)
