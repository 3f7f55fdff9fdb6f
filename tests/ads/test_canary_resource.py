import subprocess
import sys

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest

from osm_probes.ads import canary_resource
from osm_probes.ads.sotw import StateOfTheWorld
from osm_probes.snapshot.snapshot import CLUSTER


def test_the_request_subscribes_to_all_clusters() -> None:
    assert DiscoveryRequest.FromString(canary_resource.REQUEST) == DiscoveryRequest(type_url=CLUSTER)


def test_the_response_contains_the_expected_bytes() -> None:
    session = StateOfTheWorld()
    session.handle_request(canary_resource.REQUEST)
    response = session.next_response(canary_resource.snapshot())
    assert response is not None
    assert canary_resource.EXPECTED in response.body


def test_the_resource_is_a_cluster() -> None:
    (resource,) = canary_resource.snapshot().sets[CLUSTER].by_name.values()
    assert Cluster.FromString(resource.body) == Cluster(name=canary_resource.NAME)


def test_the_module_imports_neither_grpc_nor_protobuf() -> None:
    program = (
        "import sys, osm_probes.ads.canary_resource\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('grpc', 'google', 'envoy')])"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert process.stdout.strip() == "[]"
