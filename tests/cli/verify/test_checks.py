"""Checks of a control plane, by value."""

import base64
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from osm_probes.cli.control_planes import ControlPlane, planes_of
from osm_probes.cli.objects import Condition, Container, Deployment, Metadata, Pod, PodSpec, PodStatus
from osm_probes.cli.probe_client import PodProbes, ProbeAnswer
from osm_probes.cli.verify.answers import judge_certificates, judge_probes, judge_versions
from osm_probes.cli.verify.containers import is_sidecar, judge_leaving
from osm_probes.cli.verify.loglines import errors_of
from osm_probes.cli.verify.result import Result, Status, failure, together, tree, unknown, warning
from osm_probes.cli.verify.summary import Told, once, shown
from osm_probes.cli.verify.surroundings import judge_lease, judge_replicas
from osm_probes.cli.verify.webhook import WebhookConfiguration, judge_webhook
from osm_probes.health.verdict import CheckVerdict, Verdict
from osm_probes.kube.errors import KubernetesError, NotFoundError
from osm_probes.pki.authority import Authority

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


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
def test_a_sidecar_is_known_by_its_image(image: str, sidecar: bool) -> None:  # noqa: FBT001 - a table's column
    assert is_sidecar(Container("any", image)) is sidecar


def test_what_redirects_traffic_to_a_sidecar_is_one_by_its_name() -> None:
    assert is_sidecar(Container("osm-init", "any"))


def test_a_node_is_as_its_worst_part() -> None:
    parts = [Result(name="a"), warning("b", "so"), unknown("c", "so"), failure("d", "so")]
    assert [together("all", parts[:size]).status for size in range(5)] == [
        *(Status.SUCCESS, Status.SUCCESS, Status.WARNING, Status.UNKNOWN, Status.FAILURE)
    ]


def test_a_tree_says_why_and_what_to_do_where_something_is_wrong() -> None:
    found = together("all", [together("one", [failure("a", "so", "and so", do=["this"])]), Result(name="two")])
    assert ["".join(str(getattr(part, "text", part)) for part in line) for line in tree(found)] == [
        "all: Failure",
        "├── one: Failure",
        "│   └── a: Failure",
        "│           Reason: so",
        "│           Reason: and so",
        "│           Suggestion: this",
        "└── two: Success",
    ]


def test_the_same_text_is_told_once_newest_first() -> None:
    told = [
        Told("b", NOW - timedelta(hours=5)),
        Told("a", NOW),
        Told("b", NOW - timedelta(minutes=3), times=2),
        Told("c"),
    ]
    assert once(told) == [Told("a", NOW), Told("b", NOW - timedelta(minutes=3), 3), Told("c")]
    assert shown(told, now=NOW) == ["a (0s ago)", "b (3 times, last 3m ago)", "c"]
    assert shown([Told(str(number)) for number in range(7)], now=NOW)[-2:] == ["4", "and 2 more"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"level":"error","time":"2026-03-01T12:00:00Z","message":"no","error":"why"}', [Told("no: why", NOW)]),
        ('{"level": "error", "message": "no"}', [Told("no")]),
        (
            '{"level":"error","message":"a probe fell","probe":"alive","check":"ads","reason":"no beat for 15.1 s"}',
            [Told("a probe fell: alive: ads: no beat for 15.1 s")],
        ),
        ('{"level":"fatal","message":"no"}', [Told("no")]),
        ('{"level":"error"}', [Told('{"level":"error"}')]),
        ('{"level":"error","message":7}', [Told('{"level":"error","message":7}')]),
        ('{"level":"warn","message":"an error"}', []),
        ("error", []),
    ],
)
def test_lines_at_level_error_are_found_in_both_forms(line: str, told: list[Told]) -> None:
    assert list(errors_of(f"{line}\n")) == told


def _metrics(**left: float) -> str:
    return "".join(f'osm_certificate_expiry_seconds{{kind="{kind}"}} {seconds}\n' for kind, seconds in left.items())


@pytest.mark.parametrize(
    ("metrics", "status", "reasons"),
    [
        (_metrics(root=9e7, ads=8e4), Status.SUCCESS, ()),
        (_metrics(root=1e6, ads=8e4), Status.WARNING, ("the root certificate ends in 11d",)),
        (_metrics(root=9e7, ads=100), Status.WARNING, ("the ads certificate ends in 100s",)),
        (
            _metrics(root=-7200, ads=100),
            Status.FAILURE,
            ("the root certificate ended 2h ago", "the ads certificate ends in 100s"),
        ),
        ("", Status.UNKNOWN, ("the pod does not tell when its certificates end",)),
        (KubernetesError("away"), Status.UNKNOWN, ("/metrics: away",)),
    ],
)
def test_certificates_near_their_end_are_told(
    metrics: str | KubernetesError, status: Status, reasons: tuple[str, ...]
) -> None:
    found = judge_certificates(metrics)
    assert (found.status, found.reasons) == (status, reasons)
    assert bool(found.suggestions) is any("root" in each for each in reasons)


def test_a_probe_says_no_with_the_reasons_of_its_checks() -> None:
    checks = [
        CheckVerdict("ads", healthy=False, reason="refused", seconds=0.1),
        CheckVerdict("mesh", healthy=True, reason="", seconds=0),
    ]
    no = ProbeAnswer(probe="ready", verdict=Verdict("ready", healthy=False, checks=checks, warnings=["old mesh"]))
    warned = ProbeAnswer(probe="ready", verdict=Verdict("ready", healthy=True, warnings=["old mesh"]))
    mute = ProbeAnswer(probe="alive", verdict=Verdict("alive", healthy=False))
    silent = ProbeAnswer(probe="alive", no_response="EOF")
    unasked = ProbeAnswer(probe="alive", not_asked="forbidden")
    found = list(judge_probes(PodProbes("a", "b", "c", (no, warned, mute, silent, unasked))))
    assert [(each.status, each.reasons) for each in found] == [
        (Status.FAILURE, ("ads: refused", "old mesh")),
        (Status.WARNING, ("old mesh",)),
        (Status.FAILURE, ("it says no",)),
        (Status.FAILURE, ("no response: EOF",)),
        (Status.UNKNOWN, ("forbidden",)),
    ]


def test_versions_differ_by_more_than_a_letter() -> None:
    assert judge_versions({"a": "v1.0", "b": "1.0", "c": ""}).status is Status.SUCCESS
    assert judge_versions({"a": "v1.0", "b": "1.1"}).reasons == ("a is 1.0, b is 1.1",)


PLANE = ControlPlane("osm", "osm-system", (), ())


def _configuration(bundle: str, *, name: str = "osm-inject.k8s.io", home: str = "osm-system") -> WebhookConfiguration:
    config = {"caBundle": bundle, "service": {"namespace": home, "name": "osm-injector"}}
    written = {"metadata": {"name": "osm-webhook-osm"}, "webhooks": [{"name": name, "clientConfig": config}]}
    return msgspec.convert(written, WebhookConfiguration)


BUNDLE = base64.b64encode(Authority.create("a", now=lambda: NOW).root_pem).decode()


@pytest.mark.parametrize(
    ("found", "now", "reason"),
    [
        (_configuration(BUNDLE), NOW, ""),
        (_configuration(BUNDLE), NOW + timedelta(days=9999), "its CA bundle ended "),
        (_configuration(""), NOW, "it has no CA bundle: the API server trusts no injector"),
        (_configuration("AAAA"), NOW, "its CA bundle cannot be read: "),
        (_configuration("!"), NOW, "its CA bundle cannot be read: "),
        (_configuration(BUNDLE, home="other"), NOW, "it goes to namespace other, not osm-system"),
        (_configuration(BUNDLE, name="other"), NOW, "it has no webhook osm-inject.k8s.io: new pods get no sidecar"),
        (None, NOW, "there is no such MutatingWebhookConfiguration: new pods get no sidecar"),
    ],
)
def test_a_webhook_is_there_and_has_a_bundle_in_date(
    found: WebhookConfiguration | None, now: datetime, reason: str
) -> None:
    result = judge_webhook(PLANE, [found] if found else [], now=now)
    assert result.status is (Status.FAILURE if reason else Status.SUCCESS)
    assert "".join(result.reasons).startswith(reason)


def _pod(name: str, *, ready: str = "True", phase: str = "Running", mesh: str = "", deleted: str | None = None) -> Pod:
    labels = {"app": "osm-controller", **({"meshName": mesh} if mesh else {})}
    metadata = Metadata(name, "osm-system", labels=labels, deletion_timestamp=deleted)
    return Pod(metadata, PodSpec(), PodStatus(phase, conditions=[Condition("Ready", ready)]))


def _deployment(mesh: str = "osm", *, replicas: int = 2) -> Deployment:
    labels = {"app": "osm-controller", "meshName": mesh}
    return msgspec.convert(
        {"metadata": {"name": "a", "namespace": "osm-system", "labels": labels}, "spec": {"replicas": replicas}},
        Deployment,
    )


@pytest.mark.parametrize(
    ("deployment", "pods", "status", "reasons"),
    [
        (_deployment(), [_pod("a"), _pod("b")], Status.SUCCESS, ()),
        (_deployment(), [_pod("a"), _pod("b", ready="False")], Status.WARNING, ("1 of 2 pods are ready", "quota")),
        (_deployment(), [_pod("b", ready="False")], Status.FAILURE, ("0 of 2 pods are ready", "quota")),
        (_deployment(replicas=0), [], Status.FAILURE, ("it is scaled to 0",)),
        (None, [], Status.FAILURE, ("there is none",)),
    ],
)
def test_a_deployment_has_as_many_ready_pods_as_it_wants(
    deployment: Deployment | None, pods: list[Pod], status: Status, reasons: tuple[str, ...]
) -> None:
    found = judge_replicas("osm-controller", deployment, pods, why=["quota"])
    assert (found.status, found.reasons) == (status, reasons)


@pytest.mark.parametrize(
    ("holder", "status"),
    [
        ("osm-controller-0-6b7c", Status.SUCCESS),
        ("osm-controller-9-6b7c", Status.WARNING),
        ("", Status.WARNING),
        (NotFoundError("no"), Status.WARNING),
        (KubernetesError("no"), Status.UNKNOWN),
    ],
)
def test_the_lease_is_held_by_one_of_the_controllers(holder: str | KubernetesError, status: Status) -> None:
    assert judge_lease(holder, [_pod("osm-controller-0"), _pod("osm-controller-1")]).status is status


def test_two_meshes_share_a_namespace_and_a_pod_that_is_leaving_is_no_pod_of_theirs() -> None:
    pods = [_pod("a", mesh="one"), _pod("b", mesh="two"), _pod("c"), _pod("d", mesh="one", phase="Failed")]
    pods.append(_pod("e", mesh="two", deleted="2026-03-01T12:00:00Z"))
    one, two = planes_of([_deployment("two"), _deployment("one")], pods)
    assert (one.mesh, [each.metadata.name for each in one.pods_of("osm-controller")]) == ("one", ["a", "c"])
    assert (two.mesh, [each.metadata.name for each in two.pods_of("osm-controller")]) == ("two", ["b", "c"])
    assert judge_leaving(pods[3]).reasons == ("it has ended (Failed)",)
    assert judge_leaving(pods[4]).reasons == ("it is being deleted",)
