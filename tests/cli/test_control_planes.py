from osm_probes.cli.control_planes import control_planes_from_objects
from tests.cli.objects import APP, controller_deployment, controller_pod


def test_two_meshes_can_share_a_namespace_and_inactive_pods_do_not_count() -> None:
    pods = [
        controller_pod("a", mesh="one"),
        controller_pod("b", mesh="two"),
        controller_pod("c"),
        controller_pod("d", mesh="one", phase="Failed"),
        controller_pod("e", mesh="two", deleted_at="2026-03-01T12:00:00Z"),
    ]
    one, two = control_planes_from_objects([controller_deployment("two"), controller_deployment("one")], pods)
    assert (one.mesh, [pod.metadata.name for pod in one.pods_of(APP)]) == ("one", ["a", "c"])
    assert (two.mesh, [pod.metadata.name for pod in two.pods_of(APP)]) == ("two", ["b", "c"])
