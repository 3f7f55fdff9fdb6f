from osm_probes.kube.kind import ENDPOINT_SLICES, MESH_CONFIGS, NAMESPACES, PODS
from osm_probes.kube.list_options import ListOptions


def test_paths_are_the_apis() -> None:
    assert PODS.path() == "/api/v1/pods"
    assert PODS.path(namespace="shop", name="shop-0") == "/api/v1/namespaces/shop/pods/shop-0"
    assert NAMESPACES.path(name="shop") == "/api/v1/namespaces/shop"
    assert ENDPOINT_SLICES.path(namespace="shop") == "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"


def test_a_permission_is_named_for_who_grants_it() -> None:
    assert ListOptions(PODS).permission == 'list and watch pods of API group ""'
    wanted = ListOptions(MESH_CONFIGS, namespace="osm-system")
    assert wanted.permission == (
        'list and watch meshconfigs of API group "config.openservicemesh.io" in namespace osm-system'
    )


def test_only_selectors_that_are_given_are_sent() -> None:
    assert ListOptions(PODS).query == {}
    assert ListOptions(PODS, labels="app", fields="metadata.name=a").query == {
        "labelSelector": "app",
        "fieldSelector": "metadata.name=a",
    }
