from osm_probes.kube.kind import ENDPOINT_SLICES, MESH_CONFIGS, NAMESPACES, PODS
from osm_probes.kube.list_options import ListOptions


def test_paths_follow_the_api_conventions() -> None:
    assert PODS.path() == "/api/v1/pods"
    assert PODS.path(namespace="shop", name="shop-0") == "/api/v1/namespaces/shop/pods/shop-0"
    assert NAMESPACES.path(name="shop") == "/api/v1/namespaces/shop"
    assert ENDPOINT_SLICES.path(namespace="shop") == "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"


def test_the_permission_names_resource_api_group_and_namespace() -> None:
    assert ListOptions(PODS).permission == 'list and watch pods of API group ""'
    options = ListOptions(MESH_CONFIGS, namespace="osm-system")
    assert options.permission == (
        'list and watch meshconfigs of API group "config.openservicemesh.io" in namespace osm-system'
    )


def test_only_the_given_selectors_are_sent() -> None:
    assert ListOptions(PODS).query == {}
    assert ListOptions(PODS, labels="app", fields="metadata.name=a").query == {
        "labelSelector": "app",
        "fieldSelector": "metadata.name=a",
    }
