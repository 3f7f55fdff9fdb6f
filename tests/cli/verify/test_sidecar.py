import pytest

from osm_probes.cli.objects import Container
from osm_probes.cli.verify.sidecar import is_sidecar


@pytest.mark.parametrize(
    ("image", "sidecar"),
    [
        ("flomesh/pipy:0.5.0", True),
        ("registry.example:5000/flomesh/pipy-nightly@sha256:0123", True),
        ("flomesh/mesh", True),
        ("envoyproxy/envoy:v1.30.1", True),
        ("envoyproxy/envoy-distroless:v1.30.1", True),
        ("registry.example/proxies/envoy", True),
        ("envoyproxy/gateway:v1", False),
        ("flomesh/osm-controller:v0.8.0", False),
        ("openservicemesh/osm-injector:v0.8.0", False),
        ("", False),
    ],
)
def test_a_sidecar_is_recognized_by_its_image(image: str, sidecar: bool) -> None:  # noqa: FBT001 - a table's column
    assert is_sidecar(Container("any", image)) is sidecar


def test_the_init_container_of_a_sidecar_is_recognized_by_its_name() -> None:
    assert is_sidecar(Container("osm-init", "any"))
