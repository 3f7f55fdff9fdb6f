"""Manifests of the applications in the mesh: a bookstore and its callers. They contain nothing specific to the mesh."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from osm_probes.mesh.names import CONTROLLER, INJECTOR
from tests.e2e.images import APPS_IMAGE
from tests.kubernetes.manifests import bootstrap_permissions

STORE: Final = "bookstore"
BUYER: Final = "bookbuyer"
URL: Final = "http://bookstore.bookstore/books"
PORT: Final = 14001
PYTHON: Final = "/opt/osm/bin/python"
Json = dict[str, Any]

# Sends one request without a retry, so it fails if the application starts before its sidecar.
_ONCE: Final = "import urllib.request as u; print(u.urlopen('{}', timeout=10).read().decode())"


def enrolled(name: str) -> list[Json]:
    """A namespace in the mesh as `osm namespace add` makes it, with the service account of its application."""
    annotations = {"openservicemesh.io/sidecar-injection": "enabled"}
    metadata = {"name": name, "labels": {"openservicemesh.io/monitored-by": "osm"}, "annotations": annotations}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": name}}
    roles = (role for app in (CONTROLLER, INJECTOR) for role in bootstrap_permissions(app, name))
    bindings = [role for role in roles if role["kind"] == "RoleBinding"]
    for binding in bindings:  # A binding with the name of the chart's would be refused by `helm upgrade`.
        binding["metadata"]["name"] = binding["metadata"]["name"].removesuffix("-chart")
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}, *bindings, account]


def bookstore(namespace: str = STORE) -> list[Json]:
    """The bookstore's Deployment, with three kinds of probes that osm-injector rewrites, and its Service."""
    container = {
        **_container("bookstore"),
        "ports": [{"name": "http", "containerPort": PORT}],
        "startupProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1, "failureThreshold": 60},
        # Enough failures that a test which stops the application for a while does not cause a restart.
        "livenessProbe": {"httpGet": {"path": "/alive", "port": "http"}, "periodSeconds": 2, "failureThreshold": 60},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": PORT}, "periodSeconds": 2},
    }
    labels = {"app": STORE}
    template = {"metadata": {"labels": labels}, "spec": {"serviceAccountName": STORE, "containers": [container]}}
    metadata = {"name": STORE, "namespace": namespace}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": PORT}]},
        },
    ]


def purchase() -> Json:
    """A Job that sends one request."""
    template = {"spec": {"serviceAccountName": BUYER, "restartPolicy": "Never", "containers": [_requesting(URL)]}}
    metadata = {"name": "purchase", "namespace": BUYER}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {"backoffLimit": 0, "template": template},
    }


def caller(name: str, *, namespace: str, url: str = URL, annotations: Mapping[str, str] | None = None) -> Json:
    """A pod that sends one request. It succeeds if it gets a response."""
    metadata = {"name": name, "namespace": namespace, "annotations": dict(annotations or {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"restartPolicy": "Never", "containers": [_requesting(url)]},
    }


def stall(name: str, *, annotations: Mapping[str, str]) -> Json:
    """A bookstore pod that belongs to no Service."""
    container = {**_container("bookstore"), "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1}}
    metadata = {"name": name, "namespace": STORE, "annotations": dict(annotations)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


def shopper(name: str, *, rate: float, namespace: str = BUYER, url: str = URL) -> Json:
    """A pod that sends requests at a steady rate until SIGTERM, then prints the results; on SIGUSR1 those until now."""
    container = _container("bookbuyer", url, "--address", str(urlsplit(url).hostname), "--rate", str(rate))
    spec = {"serviceAccountName": BUYER, "restartPolicy": "Never", "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def _requesting(url: str) -> Json:
    return {"name": BUYER, "image": APPS_IMAGE, "command": [PYTHON, "-c", _ONCE.format(url)]}


def _container(kind: str, *arguments: str) -> Json:
    return {"name": kind, "image": APPS_IMAGE, "command": [PYTHON, "-m", "demo.apps", kind, *arguments]}
