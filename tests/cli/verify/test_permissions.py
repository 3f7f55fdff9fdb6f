from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from osm_probes.cli.verify.permissions import Permission, check_permissions, required_permissions
from osm_probes.cli.verify.result import Status
from osm_probes.kube.kind import EVENTS, SECRETS
from tests.kubernetes.manifests import permissions


@pytest.mark.parametrize("app", ["osm-controller", "osm-injector"])
def test_the_required_permissions_are_those_that_the_chart_grants(app: str) -> None:
    required = {
        (permission.kind.group, permission.kind.plural, permission.verb, permission.own_namespace_only, permission.name)
        for permission in required_permissions(
            app, mesh="osm", ca_secret="osm-ca-bundle", mesh_config="osm-mesh-config"
        )
    }
    roles = [document for document in permissions(app) if "rules" in document]
    assert required == {permission for role in roles for permission in _granted_by(role)}


def test_only_a_missing_permission_that_is_not_optional_is_a_failure() -> None:
    events = Permission(EVENTS, "create", optional=True)
    secrets = Permission(SECRETS, "create")
    assert check_permissions("osm-controller", {events: False, secrets: True}).status is Status.WARNING
    assert check_permissions("osm-controller", {events: False, secrets: False}).status is Status.FAILURE


def _granted_by(role: dict[str, Any]) -> Iterator[tuple[str, str, str, bool, str]]:
    own_namespace_only = role["kind"] == "Role"
    for rule in role["rules"]:
        names = rule.get("resourceNames", [""])
        for group, resource, verb, name in product(rule["apiGroups"], rule["resources"], rule["verbs"], names):
            yield group, resource, verb, own_namespace_only, name
