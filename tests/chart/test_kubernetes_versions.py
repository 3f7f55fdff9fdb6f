"""All objects are what each Kubernetes since 1.29 takes, field by field."""

from collections.abc import Iterator

import kubernetes_validate  # type: ignore[import-untyped] # it has no types
import pytest

from tests.chart.render import MATRIX, Manifest, rendered

pytestmark = pytest.mark.helm
VERSIONS = [f"1.{minor}" for minor in range(29, 38)]
CUSTOM = {"config.openservicemesh.io/v1alpha2", "monitoring.coreos.com/v1"}


def _of_kubernetes() -> Iterator[Manifest]:
    """Each object of the matrix once; those of custom kinds left out, whose schemas it has not."""
    seen: list[Manifest] = []
    for values in MATRIX.values():
        for each in (document for found in rendered(values).values() for document in found):
            if each["apiVersion"] not in CUSTOM and each not in seen:
                seen.append(each)
                yield each


@pytest.mark.parametrize("version", VERSIONS)
def test_objects_are_as_this_version_has_them(version: str) -> None:
    for each in _of_kubernetes():
        # It takes an older schema where it has none of this version, and says which it took.
        assert kubernetes_validate.validate(each, version, strict=True) == version


def test_a_field_that_there_is_not_is_found() -> None:
    wrong = next(each for each in _of_kubernetes() if each["kind"] == "Deployment")
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)
