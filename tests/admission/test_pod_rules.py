import pytest

from osm_probes.admission.pod import decode_pod
from osm_probes.admission.pod_rules import UnacceptablePodError, check_pod
from tests.admission.pods import Json, container, encoded, pod

PROBE = {"httpGet": {"path": "/", "port": 80}}


def check(original: Json) -> None:
    check_pod(decode_pod(encoded(original)), namespace="bookstore")


@pytest.mark.parametrize(
    "original",
    [
        pod(),
        pod(metadata={"name": "a" * 253}),
        pod(metadata={"name": "a.b-c.0"}),
        pod(metadata={"name": None, "generateName": "shop-"}),
        pod(metadata={"name": None, "generateName": "shop--"}),
        pod(metadata={"name": "", "generateName": "shop"}),
        pod(metadata={"namespace": "bookstore"}),
        pod(metadata={"namespace": ""}),
        pod(serviceAccountName="build.robot"),
        pod(serviceAccountName=""),
        pod(*[container(f"c{number}") for number in range(240)], initContainers=[container("i")] * 10),
        pod(*[container(livenessProbe=PROBE, readinessProbe=PROBE)] * 250),
        pod(container(ports=[{"containerPort": 80}] * 5000), volumes=[{"name": "v"}] * 1000),
    ],
)
def test_a_pod_that_kubernetes_would_accept_is_accepted(original: Json) -> None:
    check(original)


@pytest.mark.parametrize(
    ("original", "reason"),
    [
        (pod(metadata={"name": None}), "the pod has no name: set"),
        (pod(metadata={"name": "", "generateName": ""}), "the pod has no name: set"),
        (pod(metadata={"name": "Shop"}), r"metadata\.name of the pod is 'Shop', which is not"),
        (pod(metadata={"name": "a" * 254}), r"metadata\.name of the pod is 'a{64}'\.\.\. \(254 characters\)"),
        (pod(metadata={"name": "shop\n"}), r"metadata\.name of the pod is 'shop\\n'"),
        (pod(metadata={"name": "shop-"}), r"metadata\.name of the pod is 'shop-'"),
        (pod(metadata={"name": None, "generateName": "-shop"}), r"metadata\.generateName of the pod"),
        (pod(metadata={"name": None, "generateName": "-"}), r"metadata\.generateName of the pod"),
        (pod(metadata={"generateName": "sh/op"}), r"metadata\.generateName of the pod"),
        (pod(serviceAccountName="a'b"), r"spec\.serviceAccountName of the pod is"),
        (pod(serviceAccountName="a" * 3000), r"spec\.serviceAccountName of the pod is 'a{64}'\.\.\. \(3000 char"),
        (pod(serviceAccountName="a..b"), r"spec\.serviceAccountName of the pod is 'a\.\.b'"),
        (pod(metadata={"namespace": "elsewhere"}), r"is 'elsewhere', but it is created in bookstore"),
        (pod(*[container()] * 251), "the pod has 251 containers; a pod with a sidecar may have at most 250"),
        (pod(initContainers=[container()] * 250), "the pod has 251 containers"),
        (pod(ephemeralContainers=[container()] * 250), "the pod has 251 containers"),
        (pod(container(ports=[{"containerPort": 80}] * 5001)), "the pod has 5001 container ports"),
        (pod(volumes=[{"name": "v"}] * 1001), "the pod has 1001 volumes"),
        (
            pod(*[container(livenessProbe=PROBE, readinessProbe=PROBE, startupProbe=PROBE)] * 167),
            "the pod has 501 probes",
        ),
    ],
)
def test_another_pod_is_an_error_that_names_the_field_or_the_limit(original: Json, reason: str) -> None:
    with pytest.raises(UnacceptablePodError, match=reason):
        check(original)
