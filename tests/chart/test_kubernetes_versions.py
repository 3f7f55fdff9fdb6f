"""All objects are valid in every Kubernetes version since 1.29."""

import itertools
from collections.abc import Iterator

import kubernetes_validate  # type: ignore[import-untyped] # it has no types
import pytest

from tests.chart.render import MATRIX, Manifest, rendered

pytestmark = pytest.mark.helm
VERSIONS = [f"1.{minor}" for minor in range(29, 38)]
CUSTOM = {"config.openservicemesh.io/v1alpha2", "monitoring.coreos.com/v1"}


def _of_kubernetes() -> Iterator[Manifest]:
    """Each distinct object of the matrix; without custom resources, for which the library has no schemas."""
    seen: list[Manifest] = []
    for values in MATRIX.values():
        for manifest in itertools.chain.from_iterable(rendered(values).values()):
            if manifest["apiVersion"] not in CUSTOM and manifest not in seen:
                seen.append(manifest)
                yield manifest


@pytest.mark.parametrize("version", VERSIONS)
def test_all_objects_are_valid_in_this_version(version: str) -> None:
    for manifest in _of_kubernetes():
        # The library falls back to an older schema if it has none for this version; it returns the version it used.
        assert kubernetes_validate.validate(manifest, version, strict=True) == version


def test_the_validation_rejects_an_unknown_field() -> None:
    wrong = next(manifest for manifest in _of_kubernetes() if manifest["kind"] == "Deployment")
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)
