"""Builders of pods and reviews in their JSON form."""

from typing import Any

import jsonpatch
import msgspec

from osm_probes.admission.options import InjectionOptions
from osm_probes.admission.patch import SidecarInjection, inject_sidecar
from osm_probes.admission.pod import decode_pod
from osm_probes.mesh.labels import INJECTION, MONITORED_BY, PREFIX
from osm_probes.mesh.mesh import NamespaceMetadata

Json = dict[str, Any]

UUID = "5f9b2b3c-0000-4000-8000-00000000000a"
OPTIONS = InjectionOptions("osm", "osm-system", "envoy:1", "init:1")
ENROLLED = NamespaceMetadata({MONITORED_BY: "osm"}, {INJECTION: "enabled"})


def container(name: str = "app", **parts: Any) -> Json:
    """A container with additional fields."""
    return {"name": name, "image": f"{name}:1", **parts}


def pod(*containers: Json, metadata: Json | None = None, **spec: Any) -> Json:
    """A pod with these containers, by default one named app, and additional fields of its spec."""
    return {
        "metadata": {"name": "bookstore-1"} | (metadata or {}),
        "spec": {"containers": list(containers or (container(),))} | spec,
    }


def annotated(**annotations: str) -> Json:
    """A pod with annotations of the mesh. An underscore in a name means a dash."""
    return pod(
        metadata={"annotations": {PREFIX + name.replace("_", "-"): value for name, value in annotations.items()}}
    )


def injection(
    original: Json, *, options: InjectionOptions = OPTIONS, metadata: NamespaceMetadata = ENROLLED, uuid: str = UUID
) -> SidecarInjection:
    """The injection of a sidecar into this pod."""
    return inject_sidecar(
        decode_pod(encoded(original)), uuid=uuid, namespace="bookstore", metadata=metadata, options=options
    )


def patched(original: Json, *, options: InjectionOptions = OPTIONS, metadata: NamespaceMetadata = ENROLLED) -> Json:
    """The pod after an API server has applied the patch."""
    operations = injection(original, options=options, metadata=metadata).operations
    result: Json = jsonpatch.apply_patch(original, encoded(list(operations)).decode())
    return result


def encoded(value: object) -> bytes:
    """The value as JSON."""
    return msgspec.json.encode(value)


def review(original: object = None, **request: Any) -> Json:
    """A review of the creation of this pod in namespace bookstore. request: changed fields of the request."""
    default = {
        "uid": "review-1",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "operation": "CREATE",
        "namespace": "bookstore",
        "object": pod() if original is None else original,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": default | request}
