"""What verify asks for is what the chart grants."""

from itertools import product
from typing import Any

import pytest

from osm_probes.cli.verify.permissions import needed
from tests.kubernetes.manifests import permissions


@pytest.mark.parametrize("app", ["osm-controller", "osm-injector"])
def test_what_is_asked_for_is_what_the_chart_grants(app: str) -> None:
    permissions_asked = needed(app, mesh="osm", secret="osm-ca-bundle", settings="osm-mesh-config")
    asked = {(each.kind.group, each.kind.plural, each.verb, each.own, each.name) for each in permissions_asked}
    assert asked == {grant for each in permissions(app) if "rules" in each for grant in _granted(each)}


def _granted(role: dict[str, Any]) -> set[tuple[str, str, str, bool, str]]:
    own = role["kind"] == "Role"
    return {
        (group, resource, verb, own, name)
        for rule in role["rules"]
        for group, resource, verb, name in product(
            rule["apiGroups"], rule["resources"], rule["verbs"], rule.get("resourceNames", [""])
        )
    }
