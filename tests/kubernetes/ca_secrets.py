"""The CA Secret in a namespace of a real API server."""

import base64

from osm_probes.foundation.problem import Problem
from tests.kubernetes.apiserver import ApiServer


def path(namespace: str) -> str:
    """The path of the Secrets of a namespace."""
    return f"/api/v1/namespaces/{namespace}/secrets"


def stored(server: ApiServer, namespace: str) -> dict[str, bytes]:
    """The decoded data of the Secret."""
    data = server.request("GET", f"{path(namespace)}/osm-ca-bundle")["data"]
    return {key: base64.b64decode(value) for key, value in data.items()}


def put(server: ApiServer, namespace: str, **data: bytes) -> None:
    """Create the Secret, as a person does."""
    encoded = {key.replace("_", "."): base64.b64encode(value).decode() for key, value in data.items()}
    server.request("POST", path(namespace), {"metadata": {"name": "osm-ca-bundle"}, "data": encoded})


def ignore_reason(_reason: Problem) -> None:
    """Ignore why the program waits."""
