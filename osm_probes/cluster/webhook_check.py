"""The webhook's configuration and the mesh's namespaces -> why new pods would get no sidecar.

A problem makes pods be refused, or be created without a sidecar; a warning does so only for some pods, or only later.
docs/decisions/0017 has the reason for each.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from osm_probes.cluster.webhook_configuration import Rule, Webhook, WebhookEntry
from osm_probes.foundation.problem import Problem
from osm_probes.foundation.text import first_of
from osm_probes.mesh.labels import IGNORE, MONITORED_BY
from osm_probes.mesh.mesh import NamespaceMetadata
from osm_probes.mesh.ports import REVIEW_PATH, WEBHOOK_PORT

_SHOWN: Final = 10
# The API server sends the first version of the list that it knows.
_KNOWN_VERSIONS: Final = ("v1", "v1beta1")
_WITHOUT: Final = "pods are created without a sidecar"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookExpectation:
    """What the configuration must fit to. server_name: the name in the webhook's certificate.

    timeout: how long the program takes for a review at most, in seconds. namespaces: those whose pods may get sidecars.
    """

    mesh_name: str
    server_name: str
    timeout: float
    namespaces: Mapping[str, NamespaceMetadata]


@dataclass(frozen=True, slots=True)
class WebhookFindings:
    """The first problem, which says how many more there are, and the warnings."""

    problem: Problem = field(default_factory=Problem)
    warnings: tuple[Problem, ...] = ()


Question = Callable[[Webhook, WebhookExpectation], Iterator[Problem]]


def check_webhooks(entry: WebhookEntry, expectation: WebhookExpectation) -> WebhookFindings:
    """What is wrong with our webhooks.

    Each of them must be called correctly. That pods are selected is enough in one of them.
    """
    webhooks = [webhook for _, webhook in entry.webhooks]
    problems = [problem for webhook in webhooks for problem in _ask(_CALLS, webhook, expectation)]
    not_selected = [_ask(_SELECTIONS, webhook, expectation) for webhook in webhooks]
    if not_selected and all(not_selected):
        problems += not_selected[0]
    warnings = [problem for webhook in webhooks for problem in _ask(_WARNINGS, webhook, expectation)]
    return WebhookFindings(_first(problems), tuple(dict.fromkeys(warnings)))


def find_doubt(entry: WebhookEntry, *, own_port: int) -> Problem:
    """What may keep all reviews away, but may also be intended; only a review shows which. false if nothing does."""
    webhooks = [webhook for _, webhook in entry.webhooks]
    ports = (webhook.client_config.address[1] for webhook in webhooks if webhook.client_config.service is None)
    if wrong := next((port for port in ports if port != own_port), None):
        return Problem(
            f"the webhook configuration: clientConfig.url calls port {wrong}, this injector listens on port "
            f"{own_port}, and no review has arrived"
        )
    if webhooks and not any(webhook.object_selector.selects({}) for webhook in webhooks):
        reason = f"the webhook configuration: objectSelector demands labels, and no review has arrived: {_WITHOUT}"
        selectors = ", ".join(str(webhook.object_selector) for webhook in webhooks)
        return Problem(reason, f"{reason}: {selectors}")
    return Problem()


def _ask(questions: tuple[Question, ...], webhook: Webhook, expectation: WebhookExpectation) -> list[Problem]:
    return [problem for question in questions for problem in question(webhook, expectation)]


def _first(problems: list[Problem]) -> Problem:
    if not problems:
        return Problem()
    summary, detail = first_of([problem.summary for problem in problems]), "; ".join(map(str, problems))
    return Problem(f"the webhook configuration: {summary}", f"the webhook configuration: {detail}")


def _versions(webhook: Webhook, _: WebhookExpectation) -> Iterator[Problem]:
    known = [version for version in webhook.admission_review_versions if version in _KNOWN_VERSIONS]
    if known[:1] != ["v1"]:
        yield Problem("admissionReviewVersions does not begin with v1, so pods are refused")


def _client(webhook: Webhook, expectation: WebhookExpectation) -> Iterator[Problem]:
    client = webhook.client_config
    kind = "service" if client.service is not None else "url"
    host, port, path = client.address
    if host != expectation.server_name:
        yield Problem(
            f"clientConfig.{kind} does not call this injector's Service, so pods get no sidecar",
            f"clientConfig.{kind} calls {host or client.url!r} instead of {expectation.server_name}",
        )
    if path != REVIEW_PATH:
        reason = f"the path in clientConfig.{kind} is not {REVIEW_PATH}, so pods get no sidecar"
        yield Problem(reason, f"{reason}: it is {path!r}")
    if client.service is not None and port != WEBHOOK_PORT:
        yield Problem(f"clientConfig.service.port is {port} instead of {WEBHOOK_PORT}, so pods get no sidecar")


def _rules(webhook: Webhook, _: WebhookExpectation) -> Iterator[Problem]:
    if any(_covers_pods(rule) for rule in webhook.rules):
        return
    yield Problem(
        f'no rule has operation CREATE, API group "", version v1, resource pods and scope Namespaced: {_WITHOUT}'
    )


def _covers_pods(rule: Rule) -> bool:
    """Whether the API server matches the creation of a pod, a namespaced resource without a subresource."""
    resources = (resource.partition("/") for resource in rule.resources)
    return (
        not {"CREATE", "*"}.isdisjoint(rule.operations)
        and not {"", "*"}.isdisjoint(rule.api_groups)
        and not {"v1", "*"}.isdisjoint(rule.api_versions)
        and any(name in {"pods", "*"} and subresource in {"", "*"} for name, _, subresource in resources)
        and rule.scope in {"Namespaced", "*"}
    )


def _namespace_selector(webhook: Webhook, expectation: WebhookExpectation) -> Iterator[Problem]:
    namespaces, missed = expectation.namespaces, _missed(webhook, expectation)
    if namespaces and len(missed) == len(namespaces):
        yield Problem(f"namespaceSelector selects none of the mesh's {len(namespaces)} namespaces: {_WITHOUT}")
    if not namespaces and not _selects_members(webhook, expectation):
        yield Problem(f"namespaceSelector does not select namespaces with the mesh's label: {_WITHOUT}")


def _selects_members(webhook: Webhook, expectation: WebhookExpectation) -> bool:
    """Whether a namespace of the mesh can be selected; its other labels are not known yet."""
    labels = {MONITORED_BY: expectation.mesh_name}
    requirements = (each for each in webhook.namespace_selector.requirements if each.key in {MONITORED_BY, IGNORE})
    return not webhook.namespace_selector.selects_nothing and all(each.accepts(labels) for each in requirements)


def _missed(webhook: Webhook, expectation: WebhookExpectation) -> list[str]:
    selector = webhook.namespace_selector
    return sorted(name for name, each in expectation.namespaces.items() if not selector.selects(each.labels))


def _object_selector(webhook: Webhook, _: WebhookExpectation) -> Iterator[Problem]:
    if webhook.object_selector.selects_nothing:
        yield Problem(f"objectSelector selects no pod: {_WITHOUT}")


def _match_conditions(webhook: Webhook, _: WebhookExpectation) -> Iterator[Problem]:
    if any(condition.expression.strip() == "false" for condition in webhook.match_conditions):
        yield Problem(f"matchConditions are never met: {_WITHOUT}")


def _some_namespaces(webhook: Webhook, expectation: WebhookExpectation) -> Iterator[Problem]:
    missed = _missed(webhook, expectation)
    if 0 < len(missed) < len(expectation.namespaces):
        reason = (
            f"namespaceSelector does not select {len(missed)} of the mesh's {len(expectation.namespaces)} namespaces"
        )
        more = f" and {len(missed) - _SHOWN} more" if len(missed) > _SHOWN else ""
        yield Problem(f"{reason}: there {_WITHOUT}", f"{reason}: {', '.join(missed[:_SHOWN])}{more}: there {_WITHOUT}")


def _some_pods(webhook: Webhook, _: WebhookExpectation) -> Iterator[Problem]:
    selector = webhook.object_selector
    if not selector.selects_nothing and not selector.selects({}):
        yield Problem(f"objectSelector demands labels: {_WITHOUT} if they lack them")
    if webhook.match_conditions and not any(_match_conditions(webhook, _)):
        yield Problem(f"matchConditions are set, which cannot be evaluated here: {_WITHOUT} if they are not met")


def _policy(webhook: Webhook, _: WebhookExpectation) -> Iterator[Problem]:
    if webhook.failure_policy == "Ignore":
        yield Problem(f"failurePolicy is Ignore: {_WITHOUT} while no injector answers")


def _timeout(webhook: Webhook, expectation: WebhookExpectation) -> Iterator[Problem]:
    if webhook.timeout_seconds < expectation.timeout:
        yield Problem(
            f"timeoutSeconds is {webhook.timeout_seconds}, but --webhook-timeout is {expectation.timeout:g}: the API "
            "server does not wait for slow answers"
        )


_CALLS: Final[tuple[Question, ...]] = (_client, _versions)
_SELECTIONS: Final[tuple[Question, ...]] = (_rules, _namespace_selector, _object_selector, _match_conditions)
_WARNINGS: Final[tuple[Question, ...]] = (_some_namespaces, _some_pods, _policy, _timeout)
