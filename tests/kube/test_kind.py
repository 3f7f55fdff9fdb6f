from urllib.parse import quote

import pytest

from osm_probes.kube.errors import NotFoundError
from osm_probes.kube.kind import ENDPOINT_SLICES, MESH_CONFIGS, NAMESPACES, PODS
from osm_probes.kube.list_options import ListOptions


def test_paths_follow_the_api_conventions() -> None:
    assert PODS.path() == "/api/v1/pods"
    assert PODS.path(namespace="shop", name="shop-0") == "/api/v1/namespaces/shop/pods/shop-0"
    assert NAMESPACES.path(name="shop") == "/api/v1/namespaces/shop"
    assert ENDPOINT_SLICES.path(namespace="shop") == "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"


@pytest.mark.parametrize("name", ["..", ".", "shop/pods/other", "/", "shop%2fpods", "%2e%2e"])
def test_a_name_that_no_object_can_have_does_not_lead_to_another_path(name: str) -> None:
    with pytest.raises(NotFoundError, match="is not the name of an object"):
        NAMESPACES.path(name=name)
    with pytest.raises(NotFoundError, match="is not the name of an object"):
        PODS.path(namespace=name)


@pytest.mark.parametrize("name", ["shop?watch=1", "shop#", "a\nb", "é", "system:node"])
def test_any_other_name_is_one_segment_of_the_path(name: str) -> None:
    assert NAMESPACES.path(name=name) == f"/api/v1/namespaces/{quote(name, safe='')}"


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
