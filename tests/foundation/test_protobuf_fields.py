from envoy.service.discovery.v3.discovery_pb2 import DiscoveryResponse
from hypothesis import given
from hypothesis import strategies as st

from osm_probes.foundation.protobuf_fields import field


@given(st.text(), st.integers(0, 70_000))
def test_protobuf_decodes_concatenated_fields(nonce: str, size: int) -> None:
    body = field(1, b"v" * size) + field(5, nonce.encode())
    assert DiscoveryResponse.FromString(body) == DiscoveryResponse(version_info="v" * size, nonce=nonce)
