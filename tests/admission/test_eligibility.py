from typing import Any

import pytest

from osm_probes.admission.annotations import BadAnnotationError
from osm_probes.admission.eligibility import exemption
from osm_probes.admission.namespaces import NamespaceFacts
from osm_probes.admission.pod import decode_pod
from osm_probes.mesh.labels import IGNORE, INJECTION, MONITORED_BY
from tests.admission.pods import ENROLLED, OPTIONS, UUID, Json, annotated, container, encoded, patched, pod

ASKS_NOT = NamespaceFacts({MONITORED_BY: "osm"})
FORBIDS = NamespaceFacts({MONITORED_BY: "osm"}, {INJECTION: "no"})


def exempted(original: Json, *, namespace: str = "bookstore", facts: NamespaceFacts | None = ENROLLED) -> str:
    return exemption(decode_pod(encoded(original)), namespace=namespace, facts=facts, options=OPTIONS)


@pytest.mark.parametrize(
    ("facts", "original"),
    [
        pytest.param(ENROLLED, pod(), id="the namespace asks"),
        pytest.param(ENROLLED, annotated(sidecar_injection="true"), id="both ask"),
        pytest.param(ASKS_NOT, annotated(sidecar_injection="yes"), id="the pod asks"),
        pytest.param(FORBIDS, annotated(sidecar_injection="enabled"), id="the pod asks against its namespace"),
        pytest.param(ENROLLED, annotated(sidecar_injection=""), id="an empty annotation says nothing"),
        pytest.param(ENROLLED, pod(restartPolicy="Never"), id="a job's pod is a pod"),
        pytest.param(ENROLLED, pod(nodeSelector={"kubernetes.io/os": "linux"}, os={"name": "linux"}), id="Linux"),
        pytest.param(ENROLLED, pod(container("envoy")), id="the name alone is no sidecar"),
        pytest.param(ENROLLED, pod(metadata={"labels": {"osm-proxy-uuid": "x"}}), id="the label alone is no sidecar"),
    ],
)
def test_gets_a_sidecar(facts: NamespaceFacts, original: Json) -> None:
    assert exempted(original, facts=facts) == ""


@pytest.mark.parametrize(
    ("reason", "original", "changed"),
    [
        ("a system namespace", pod(), {"namespace": "kube-system"}),
        ("a system namespace", pod(), {"namespace": "kube-public"}),
        ("a system namespace", pod(), {"namespace": "osm-system"}),
        ("an unknown namespace", pod(), {"facts": None}),
        ("a namespace outside the mesh", pod(), {"facts": NamespaceFacts({}, ENROLLED.annotations)}),
        (
            "a namespace outside the mesh",
            pod(),
            {"facts": NamespaceFacts({MONITORED_BY: "osm2"}, ENROLLED.annotations)},
        ),
        (
            "an ignored namespace",
            pod(),
            {"facts": NamespaceFacts({**ENROLLED.labels, IGNORE: ""}, ENROLLED.annotations)},
        ),
        ("a pod on the host's network", pod(hostNetwork=True), {}),
        ("a Windows pod", pod(nodeSelector={"kubernetes.io/os": "windows"}), {}),
        ("a Windows pod", pod(os={"name": "windows"}), {}),
        ("a pod that opted out", annotated(sidecar_injection="Disabled"), {}),
        ("neither pod nor namespace asks for a sidecar", pod(), {"facts": ASKS_NOT}),
        ("neither pod nor namespace asks for a sidecar", pod(), {"facts": FORBIDS}),
    ],
)
def test_gets_none(reason: str, original: Json, changed: dict[str, Any]) -> None:
    assert exempted(original, **changed) == reason


def test_a_pod_that_was_patched_before_gets_none_again() -> None:
    assert exempted(patched(pod())) == "a pod that has its sidecar"


def test_a_pod_with_a_native_sidecar_of_ours_gets_none_again() -> None:
    assert (
        exempted(patched(pod(initContainers=[container("log", restartPolicy="Always")])))
        == "a pod that has its sidecar"
    )


def with_secret(secret: str, *, mounted: str = "envoy-bootstrap-config-volume") -> Json:
    made = patched(pod())
    made["spec"]["volumes"][0]["secret"]["secretName"] = secret
    made["spec"]["containers"][-1]["volumeMounts"][0]["name"] = mounted
    return made


@pytest.mark.parametrize(
    "original",
    [
        pytest.param(pod(container("envoy"), metadata={"labels": {"osm-proxy-uuid": UUID}}), id="names alone"),
        pytest.param(with_secret("envoy-bootstrap-config-other"), id="another proxy's bootstrap"),
        pytest.param(with_secret(f"envoy-bootstrap-config-{UUID}", mounted="x"), id="a bootstrap that is not mounted"),
    ],
)
def test_a_container_that_only_looks_like_the_sidecar_is_none(original: Json) -> None:
    assert exempted(original) == ""


@pytest.mark.parametrize(
    ("original", "facts", "words"),
    [
        (annotated(sidecar_injection="on"), ENROLLED, "of the pod is 'on'"),
        (pod(), NamespaceFacts({MONITORED_BY: "osm"}, {INJECTION: "1"}), "of namespace bookstore is '1'"),
    ],
)
def test_an_annotation_that_nobody_can_read_is_an_error(original: Json, facts: NamespaceFacts, words: str) -> None:
    with pytest.raises(BadAnnotationError, match=words):
        exempted(original, facts=facts)


def test_outside_the_mesh_no_annotation_is_read() -> None:
    assert exempted(annotated(sidecar_injection="on"), namespace="kube-system")
    assert exempted(annotated(sidecar_injection="on"), facts=None)
