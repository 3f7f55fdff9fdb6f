"""Self-check -> a review that a working webhook answers with a patch; nothing is stored for it."""

from typing import Final

import msgspec

from osm_probes.admission.namespaces import NamespaceFacts
from osm_probes.admission.options import InjectionOptions
from osm_probes.admission.review import API_VERSION, KIND
from osm_probes.mesh import labels

SAMPLE_NAMESPACE: Final = "osm_self_check"
"""No namespace of Kubernetes can have this name (an underscore): the answer depends on no lookup and no cluster."""

SAMPLE_UID: Final = "00000000-0000-0000-0000-000000000000"


def sample_facts(options: InjectionOptions) -> NamespaceFacts:
    """The sample's namespace: enrolled."""
    return NamespaceFacts({labels.MONITORED_BY: options.mesh_name}, {labels.INJECTION: "enabled"})


def sample_review() -> bytes:
    """The body to post to the webhook. A working one answers with the same uid, allowed, and a JSON patch."""
    probe = {"httpGet": {"path": "/", "port": 80}}
    pod = {
        "metadata": {"name": "self-check"},
        "spec": {"containers": [{"name": "app", "image": "app", "livenessProbe": probe}]},
    }
    request = {
        "uid": SAMPLE_UID,
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "operation": "CREATE",
        "namespace": SAMPLE_NAMESPACE,
        "dryRun": True,
        "object": pod,
    }
    return msgspec.json.encode({"apiVersion": API_VERSION, "kind": KIND, "request": request})
