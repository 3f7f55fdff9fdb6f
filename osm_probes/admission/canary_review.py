"""The canary's AdmissionReview: a working webhook answers it with a patch, and stores nothing for it."""

from typing import Final

import msgspec

from osm_probes.admission.options import InjectionOptions
from osm_probes.admission.review import API_VERSION, KIND
from osm_probes.mesh import labels
from osm_probes.mesh.mesh import NamespaceMetadata

CANARY_NAMESPACE: Final = "osm_self_check"
"""No namespace can have this name, because of its underscore; so the answer does not depend on a real namespace."""

CANARY_UID: Final = "00000000-0000-0000-0000-000000000000"


def canary_namespace_metadata(options: InjectionOptions) -> NamespaceMetadata:
    """The metadata that the canary's namespace counts as having: sidecar injection is enabled."""
    return NamespaceMetadata({labels.MONITORED_BY: options.mesh_name}, {labels.INJECTION: "enabled"})


def canary_review() -> bytes:
    """The body to post to the webhook. A working webhook answers with the same uid, `allowed`, and a JSON patch."""
    probe = {"httpGet": {"path": "/", "port": 80}}
    pod = {
        "metadata": {"name": "self-check"},
        "spec": {"containers": [{"name": "app", "image": "app", "livenessProbe": probe}]},
    }
    request = {
        "uid": CANARY_UID,
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "operation": "CREATE",
        "namespace": CANARY_NAMESPACE,
        "dryRun": True,
        "object": pod,
    }
    return msgspec.json.encode({"apiVersion": API_VERSION, "kind": KIND, "request": request})
