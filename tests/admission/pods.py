"""Builders of pods and reviews, as JSON has them."""

from typing import Any

import jsonpatch
import msgspec

from osm_probes.admission.namespaces import NamespaceFacts
from osm_probes.admission.options import InjectionOptions
from osm_probes.admission.patch import Injection, inject
from osm_probes.admission.pod import decode_pod
from osm_probes.mesh.labels import INJECTION, MONITORED_BY

Json = dict[str, Any]

UUID = "5f9b2b3c-0000-4000-8000-00000000000a"
OPTIONS = InjectionOptions("osm", "osm-system", "envoy:1", "init:1")
ENROLLED = NamespaceFacts({MONITORED_BY: "osm"}, {INJECTION: "enabled"})


def container(name: str = "app", **parts: Any) -> Json:
    """A container with any further fields."""
    return {"name": name, "image": f"{name}:1", **parts}


def pod(*containers: Json, metadata: Json | None = None, **spec: Any) -> Json:
    """A pod with these containers (one called app without any) and further fields of its spec."""
    return {
        "metadata": {"name": "bookstore-1"} | (metadata or {}),
        "spec": {"containers": list(containers or (container(),))} | spec,
    }


def annotated(**annotations: str) -> Json:
    """A pod with annotations of the mesh; an underscore in a name stands for a dash."""
    prefix = "openservicemesh.io/"
    return pod(
        metadata={"annotations": {prefix + name.replace("_", "-"): value for name, value in annotations.items()}}
    )


def injection(
    original: Json, *, options: InjectionOptions = OPTIONS, facts: NamespaceFacts = ENROLLED, uuid: str = UUID
) -> Injection:
    """What is done to this pod."""
    return inject(decode_pod(encoded(original)), uuid=uuid, namespace="bookstore", facts=facts, options=options)


def patched(original: Json, *, options: InjectionOptions = OPTIONS, facts: NamespaceFacts = ENROLLED) -> Json:
    """The pod as an API server has it after the patch."""
    operations = injection(original, options=options, facts=facts).operations
    result: Json = jsonpatch.apply_patch(original, encoded(list(operations)).decode())
    return result


def encoded(value: object) -> bytes:
    """As JSON."""
    return msgspec.json.encode(value)


def review(original: object = None, **request: Any) -> Json:
    """A review of the creation of this pod in namespace bookstore, with fields of its request changed."""
    stated = {
        "uid": "review-1",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "operation": "CREATE",
        "namespace": "bookstore",
        "object": pod() if original is None else original,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": stated | request}
