from typing import Any

import msgspec
import pytest

from osm_probes.cluster.webhook_check import WebhookExpectation, WebhookFindings, check_webhooks, find_doubt
from osm_probes.cluster.webhook_configuration import WEBHOOK, decode_webhook_entry
from osm_probes.mesh.labels import MONITORED_BY
from osm_probes.mesh.mesh import NamespaceMetadata
from tests.kubernetes.manifests import template

SERVICE = {"namespace": "osm-system", "name": "osm-injector", "path": "/mutate-pod-creation", "port": 9090}
NAME = "osm-injector.osm-system.svc"
POD_RULE = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}


def namespaces(**labels: str) -> dict[str, NamespaceMetadata]:
    """Namespaces of the mesh, each with one more label `team`."""
    return {
        name: NamespaceMetadata({MONITORED_BY: "osm", "kubernetes.io/metadata.name": name, "team": team})
        for name, team in labels.items()
    }


TWO = namespaces(bookbuyer="a", bookstore="b")


def charts_webhook() -> dict[str, Any]:
    """The webhook of the rendered chart."""
    (document,) = template("osm-injector-webhook")
    webhook: dict[str, Any] = document["webhooks"][0]
    return webhook


def findings(*webhooks: dict[str, Any], members: dict[str, NamespaceMetadata] = TWO) -> WebhookFindings:
    content = msgspec.json.encode({"metadata": {"resourceVersion": "7"}, "webhooks": webhooks})
    expectation = WebhookExpectation(mesh_name="osm", server_name=NAME, timeout=20.0, namespaces=members)
    return check_webhooks(decode_webhook_entry(content, osm_namespace="osm-system"), expectation)


def changed(**fields: object) -> WebhookFindings:
    """The findings if these fields of the chart's webhook are different."""
    return findings(charts_webhook() | fields)


def rule(**fields: object) -> list[object]:
    return [POD_RULE | fields]


@pytest.mark.parametrize("members", [{}, TWO])
def test_the_charts_webhook_has_no_fault(members: dict[str, NamespaceMetadata]) -> None:
    assert findings(charts_webhook(), members=members) == WebhookFindings()


NO_RULE = "no rule has operation CREATE"
NONE_SELECTED = "namespaceSelector selects none of the mesh's 2 namespaces"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"rules": []}, NO_RULE),
        ({"rules": rule(operations=["UPDATE"])}, NO_RULE),
        ({"rules": rule(apiGroups=["apps"])}, NO_RULE),
        ({"rules": rule(apiVersions=["v2"])}, NO_RULE),
        ({"rules": rule(resources=["pods/exec", "services"])}, NO_RULE),
        ({"rules": rule(scope="Cluster")}, NO_RULE),
        ({"rules": [*rule(operations=["UPDATE"]), *rule(resources=["services"])]}, NO_RULE),
        ({"namespaceSelector": {"matchLabels": {MONITORED_BY: "other"}}}, NONE_SELECTED),
        ({"namespaceSelector": {"matchLabels": {"nobody": "has-this"}}}, NONE_SELECTED),
        ({"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}}, NONE_SELECTED),
        (
            {"objectSelector": {"matchExpressions": [{"key": "a", "operator": o} for o in ("Exists", "DoesNotExist")]}},
            "objectSelector selects no pod",
        ),
        ({"matchConditions": [{"name": "never", "expression": " false "}]}, "matchConditions are never met"),
        ({"admissionReviewVersions": ["v1beta1"]}, "admissionReviewVersions does not begin with v1"),
        ({"admissionReviewVersions": ["v2", "v1beta1", "v1"]}, "admissionReviewVersions does not begin with v1"),
        ({"clientConfig": {"service": SERVICE | {"path": "/mutate"}}}, "the path in clientConfig.service is not"),
        ({"clientConfig": {"service": {k: v for k, v in SERVICE.items() if k != "path"}}}, "the path in clientConfig"),
        ({"clientConfig": {"service": SERVICE | {"port": 443}}}, "clientConfig.service.port is 443 instead of 9090"),
        ({"clientConfig": {"service": SERVICE | {"name": "other"}}}, "clientConfig.service does not call"),
        ({"clientConfig": {"service": SERVICE | {"namespace": "x"}}}, "clientConfig.service does not call"),
        ({"clientConfig": {"url": "https://127.0.0.1:1/mutate-pod-creation"}}, "clientConfig.url does not call"),
        ({"clientConfig": {"url": f"https://{NAME}:9090/"}}, "the path in clientConfig.url is not"),
    ],
)  # fmt: skip
def test_a_field_that_keeps_all_sidecars_away_is_a_problem(fields: dict[str, object], reason: str) -> None:
    problem = changed(**fields).problem
    assert problem.summary.startswith("the webhook configuration: ")
    assert reason in problem.summary


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        ({"failurePolicy": "Ignore"}, "failurePolicy is Ignore"),
        ({"timeoutSeconds": 5}, "timeoutSeconds is 5, but --webhook-timeout is 20"),
        ({"namespaceSelector": {"matchLabels": {"team": "a"}}}, "does not select 1 of the mesh's 2 namespaces"),
        ({"objectSelector": {"matchLabels": {"inject": "true"}}}, "objectSelector demands labels"),
        ({"matchConditions": [{"name": "some", "expression": "object.x"}]}, "matchConditions are set"),
    ],
)
def test_a_field_that_keeps_some_sidecars_away_is_a_warning(fields: dict[str, object], warning: str) -> None:
    found = changed(**fields)
    assert not found.problem
    assert [warning in each.summary for each in found.warnings] == [True]


@pytest.mark.parametrize(
    "fields",
    [
        {"rules": rule(operations=["*"], apiGroups=["*"], apiVersions=["*"], resources=["*"])},
        {"rules": rule(resources=["*/*"])},
        {"rules": rule(resources=["pods/*"])},
        {"rules": [*rule(resources=["services"]), POD_RULE]},
        {"admissionReviewVersions": ["v7", "v1", "v1beta1"]},
        {"timeoutSeconds": 30},
        {"sideEffects": "None", "matchPolicy": "Equivalent", "reinvocationPolicy": "IfNeeded"},
        {"objectSelector": {"matchExpressions": [{"key": "skip", "operator": "NotIn", "values": ["true"]}]}},
        {"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]}]}},
        {"name": "renamed.example.org"},
        {"clientConfig": {"url": f"https://{NAME}:443/mutate-pod-creation"}},
    ],
)
def test_what_operators_may_change_is_no_fault(fields: dict[str, object]) -> None:
    assert changed(**fields) == WebhookFindings()


def test_a_warning_names_namespaces_only_in_its_detail() -> None:
    (warning,) = changed(namespaceSelector={"matchLabels": {"team": "a"}}).warnings
    assert "bookstore" not in warning.summary
    assert "bookstore" in warning.detail


def test_a_wrong_address_is_named_only_in_the_detail() -> None:
    problem = changed(clientConfig={"url": "https://elsewhere:1/x"}).problem
    assert "elsewhere" not in problem.summary
    assert "elsewhere" in problem.detail
    assert "(and 1 more)" in problem.summary


@pytest.mark.parametrize(
    ("selector", "is_problem"),
    [
        ({"matchLabels": {MONITORED_BY: "osm", "team": "a"}}, False),
        ({"matchLabels": {MONITORED_BY: "other"}}, True),
        ({"matchExpressions": [{"key": "team", "operator": "In", "values": []}]}, True),
    ],
)
def test_without_namespaces_only_a_selector_that_no_namespace_of_the_mesh_can_meet_is_a_problem(
    selector: dict[str, object], is_problem: object
) -> None:
    assert bool(findings(charts_webhook() | {"namespaceSelector": selector}, members={}).problem) is is_problem


def test_one_webhook_that_selects_pods_is_enough_but_each_must_be_called_correctly() -> None:
    blind = charts_webhook() | {"name": "second.example.org", "rules": []}
    deaf = charts_webhook() | {"name": "second.example.org", "admissionReviewVersions": ["v1beta1"]}
    assert not findings(charts_webhook(), blind).problem
    assert not findings(blind, charts_webhook()).problem
    assert findings(charts_webhook(), deaf).problem


def test_the_name_of_the_charts_webhook_is_known() -> None:
    assert charts_webhook()["name"] == WEBHOOK


URL = {"url": f"https://{NAME}:9090/mutate-pod-creation"}
DEMANDS = {"matchLabels": {"inject": "true"}}


@pytest.mark.parametrize(
    ("webhooks", "doubt"),
    [
        ([{}], ""),
        ([{"clientConfig": URL}], ""),
        ([{"clientConfig": {"url": URL["url"].replace("9090", "443")}}], "clientConfig.url calls port 443"),
        ([{"objectSelector": DEMANDS}], "objectSelector demands labels, and no review has arrived"),
        ([{"objectSelector": DEMANDS}, {}], ""),
        ([{"objectSelector": {"matchExpressions": [{"key": "skip", "operator": "DoesNotExist"}]}}], ""),
    ],
)
def test_a_doubt_is_what_may_keep_all_reviews_away(webhooks: list[dict[str, Any]], doubt: str) -> None:
    content = msgspec.json.encode(
        {"metadata": {"resourceVersion": "7"}, "webhooks": [charts_webhook() | fields for fields in webhooks]}
    )
    found = find_doubt(decode_webhook_entry(content, osm_namespace="osm-system"), own_port=9090)
    assert doubt in found.summary
    assert bool(found) is bool(doubt)


def test_a_doubt_about_labels_names_them_only_in_its_detail() -> None:
    content = msgspec.json.encode(
        {"metadata": {"resourceVersion": "7"}, "webhooks": [charts_webhook() | {"objectSelector": DEMANDS}]}
    )
    found = find_doubt(decode_webhook_entry(content, osm_namespace="osm-system"), own_port=9090)
    assert "inject" not in found.summary
    assert "inject" in found.detail
