import subprocess
import sys

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_pb2 import Listener

from osm_probes.ads.sotw import StateOfTheWorld
from osm_probes.snapshot import canary_resource
from osm_probes.snapshot.snapshot import CLUSTER, LISTENER, SECRET, Resource, Snapshot

REAL = Snapshot.of([
    *(Resource.of(f"c{number}", CLUSTER, b"x" * 10_000) for number in range(9)),
    Resource.of("l", LISTENER, b"y"),
    Resource.of("s", SECRET, b"a key"),
])  # fmt: skip


@pytest.mark.parametrize("real", [None, Snapshot(), REAL])
def test_the_responses_to_its_requests_contain_the_expected_bytes(real: Snapshot | None) -> None:
    session = StateOfTheWorld()
    snapshot = canary_resource.snapshot(real)
    for step in canary_resource.STEPS:
        for request in step.requests:
            session.handle_request(request)
        response = session.next_response(snapshot)
        assert response is not None
        assert step.expected in response.body
    assert session.next_response(snapshot) is None


def test_it_contains_a_limited_part_of_a_real_snapshot_and_no_secrets() -> None:
    snapshot = canary_resource.snapshot(REAL)
    assert list(snapshot.sets[CLUSTER].by_name) == ["c0", "c1", "c2", canary_resource.NAME]
    assert list(snapshot.sets[LISTENER].by_name) == ["l", canary_resource.NAME]
    assert not snapshot.sets[SECRET].by_name


def test_the_marked_resources_are_a_cluster_and_a_listener() -> None:
    snapshot = canary_resource.snapshot(None)
    for type_url, message in ((CLUSTER, Cluster), (LISTENER, Listener)):
        (resource,) = snapshot.sets[type_url].by_name.values()
        assert message.FromString(resource.body) == message(name=canary_resource.NAME)


def test_the_module_imports_neither_grpc_nor_protobuf() -> None:
    program = (
        "import sys, osm_probes.snapshot.canary_resource\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('grpc', 'google', 'envoy')])"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert process.stdout.strip() == "[]"
