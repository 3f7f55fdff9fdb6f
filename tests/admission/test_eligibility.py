from typing import Any

import pytest

from osm_probes.admission.annotations import BadAnnotationError
from osm_probes.admission.eligibility import ineligibility_reason
from osm_probes.admission.pod import decode_pod
from osm_probes.mesh.labels import IGNORE, INJECTION, MONITORED_BY
from osm_probes.mesh.mesh import NamespaceMetadata
from tests.admission.pods import ENROLLED, OPTIONS, UUID, Json, annotated, container, encoded, patched, pod

NOT_ENABLED = NamespaceMetadata({MONITORED_BY: "osm"})
DISABLED = NamespaceMetadata({MONITORED_BY: "osm"}, {INJECTION: "no"})


def reason_for(original: Json, *, namespace: str = "bookstore", metadata: NamespaceMetadata | None = ENROLLED) -> str:
    return ineligibility_reason(decode_pod(encoded(original)), namespace=namespace, metadata=metadata, options=OPTIONS)


@pytest.mark.parametrize(
    ("metadata", "original"),
    [
        pytest.param(ENROLLED, pod(), id="the namespace enables it"),
        pytest.param(ENROLLED, annotated(sidecar_injection="true"), id="both enable it"),
        pytest.param(NOT_ENABLED, annotated(sidecar_injection="yes"), id="the pod enables it"),
        pytest.param(DISABLED, annotated(sidecar_injection="enabled"), id="the pod overrides its namespace"),
        pytest.param(ENROLLED, annotated(sidecar_injection=""), id="an empty annotation counts as unset"),
        pytest.param(ENROLLED, pod(restartPolicy="Never"), id="a pod of a Job"),
        pytest.param(ENROLLED, pod(nodeSelector={"kubernetes.io/os": "linux"}, os={"name": "linux"}), id="Linux"),
        pytest.param(ENROLLED, pod(container("envoy")), id="only the container name of a sidecar"),
        pytest.param(ENROLLED, pod(metadata={"labels": {"osm-proxy-uuid": "x"}}), id="only the label of a sidecar"),
    ],
)
def test_an_eligible_pod_gets_a_sidecar(metadata: NamespaceMetadata, original: Json) -> None:
    assert reason_for(original, metadata=metadata) == ""


@pytest.mark.parametrize(
    ("reason", "original", "changed"),
    [
        ("a system namespace", pod(), {"namespace": "kube-system"}),
        ("a system namespace", pod(), {"namespace": "kube-public"}),
        ("a system namespace", pod(), {"namespace": "osm-system"}),
        ("an unknown namespace", pod(), {"metadata": None}),
        ("a namespace outside the mesh", pod(), {"metadata": NamespaceMetadata({}, ENROLLED.annotations)}),
        (
            "a namespace outside the mesh",
            pod(),
            {"metadata": NamespaceMetadata({MONITORED_BY: "osm2"}, ENROLLED.annotations)},
        ),
        (
            "an ignored namespace",
            pod(),
            {"metadata": NamespaceMetadata({**ENROLLED.labels, IGNORE: ""}, ENROLLED.annotations)},
        ),
        ("a pod on the host network", pod(hostNetwork=True), {}),
        ("a Windows pod", pod(nodeSelector={"kubernetes.io/os": "windows"}), {}),
        ("a Windows pod", pod(os={"name": "windows"}), {}),
        ("a pod that opted out", annotated(sidecar_injection="Disabled"), {}),
        ("neither pod nor namespace asks for a sidecar", pod(), {"metadata": NOT_ENABLED}),
        ("neither pod nor namespace asks for a sidecar", pod(), {"metadata": DISABLED}),
    ],
)
def test_an_exempt_pod_gets_no_sidecar(reason: str, original: Json, changed: dict[str, Any]) -> None:
    assert reason_for(original, **changed) == reason


def test_a_patched_pod_gets_no_second_sidecar() -> None:
    assert reason_for(patched(pod())) == "a pod that has its sidecar"


def test_a_pod_that_got_a_native_sidecar_gets_no_second_one() -> None:
    assert (
        reason_for(patched(pod(initContainers=[container("log", restartPolicy="Always")])))
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
        pytest.param(pod(container("envoy"), metadata={"labels": {"osm-proxy-uuid": UUID}}), id="only the names"),
        pytest.param(with_secret("envoy-bootstrap-config-other"), id="the bootstrap of another proxy"),
        pytest.param(with_secret(f"envoy-bootstrap-config-{UUID}", mounted="x"), id="a bootstrap that is not mounted"),
    ],
)
def test_a_container_that_only_looks_like_a_sidecar_does_not_count(original: Json) -> None:
    assert reason_for(original) == ""


@pytest.mark.parametrize(
    ("original", "metadata", "reason"),
    [
        (annotated(sidecar_injection="on"), ENROLLED, "of the pod is 'on'"),
        (pod(), NamespaceMetadata({MONITORED_BY: "osm"}, {INJECTION: "1"}), "of namespace bookstore is '1'"),
    ],
)
def test_an_invalid_annotation_is_an_error(original: Json, metadata: NamespaceMetadata, reason: str) -> None:
    with pytest.raises(BadAnnotationError, match=reason):
        reason_for(original, metadata=metadata)


def test_annotations_outside_the_mesh_are_not_read() -> None:
    assert reason_for(annotated(sidecar_injection="on"), namespace="kube-system")
    assert reason_for(annotated(sidecar_injection="on"), metadata=None)
