"""Manifests of the mesh's applications: a bookstore, and those who buy there. They know nothing of the mesh."""

from collections.abc import Mapping
from typing import Any, Final

from tests.e2e.images import APPS_IMAGE

STORE: Final = "bookstore"
BUYER: Final = "bookbuyer"
URL: Final = "http://bookstore.bookstore/books"
PORT: Final = 14001
_PYTHON: Final = "/opt/osm/bin/python"
Json = dict[str, Any]

# Asks once, and not again: who starts before the sidecar fails.
_ONCE: Final = "import urllib.request as u; print(u.urlopen('{}', timeout=10).read().decode())"


def enrolled(name: str) -> list[Json]:
    """A namespace of the mesh with the service account of its application."""
    annotations = {"openservicemesh.io/sidecar-injection": "enabled"}
    metadata = {"name": name, "labels": {"openservicemesh.io/monitored-by": "osm"}, "annotations": annotations}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": name}}
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}, account]


def bookstore() -> list[Json]:
    """The Deployment, with a probe of each kind that can be rewritten, and its Service."""
    container = {
        **_container("bookstore"),
        "ports": [{"name": "http", "containerPort": PORT}],
        "startupProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1, "failureThreshold": 60},
        # One that hangs for a while must not be restarted in the middle of the next scene.
        "livenessProbe": {"httpGet": {"path": "/alive", "port": "http"}, "periodSeconds": 2, "failureThreshold": 60},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": PORT}, "periodSeconds": 2},
    }
    labels = {"app": STORE}
    template = {"metadata": {"labels": labels}, "spec": {"serviceAccountName": STORE, "containers": [container]}}
    metadata = {"name": STORE, "namespace": STORE}
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
    """The Job that buys once."""
    template = {"spec": {"serviceAccountName": BUYER, "restartPolicy": "Never", "containers": [_asking(URL)]}}
    metadata = {"name": "purchase", "namespace": BUYER}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {"backoffLimit": 0, "template": template},
    }


def caller(name: str, *, namespace: str, url: str = URL, annotations: Mapping[str, str] | None = None) -> Json:
    """The pod that asks once: it succeeds with an answer, it fails without."""
    metadata = {"name": name, "namespace": namespace, "annotations": dict(annotations or {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"restartPolicy": "Never", "containers": [_asking(url)]},
    }


def stall(name: str, *, annotations: Mapping[str, str]) -> Json:
    """A bookstore that no Service leads to."""
    container = {**_container("bookstore"), "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1}}
    metadata = {"name": name, "namespace": STORE, "annotations": dict(annotations)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


def shopper(name: str, *, rate: float) -> Json:
    """The pod that buys at a steady rate until it is told to stop, then says what came of it."""
    container = _container("bookbuyer", URL, "--address", "bookstore.bookstore", "--rate", str(rate))
    spec = {"serviceAccountName": BUYER, "restartPolicy": "Never", "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": BUYER}, "spec": spec}


def _asking(url: str) -> Json:
    return {"name": BUYER, "image": APPS_IMAGE, "command": [_PYTHON, "-c", _ONCE.format(url)]}


def _container(kind: str, *arguments: str) -> Json:
    return {"name": kind, "image": APPS_IMAGE, "command": [_PYTHON, "-m", "demo.apps", kind, *arguments]}
