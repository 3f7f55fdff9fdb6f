"""Validation of bootstraps and snapshot resources by real Envoy."""

import json
import subprocess
from pathlib import Path
from typing import Any

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from google.protobuf.json_format import MessageToDict, Parse

from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET, Snapshot
from osm_probes.xds.endpoints import socket_address
from osm_probes.xds.listeners import connection_manager_filter, http_connection_manager


def validation_error(envoy: Path, bootstrap: bytes, *, folder: Path) -> str:
    """The error with which Envoy rejects a bootstrap, "" if it accepts it."""
    path = folder / "bootstrap.json"
    path.write_bytes(bootstrap)
    command: list[str | Path] = [envoy, "--mode", "validate", "--disable-hot-restart", "-l", "error", "-c", path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    return "" if done.returncode == 0 else done.stderr


def with_resources(bootstrap: bytes, snapshot: Snapshot) -> bytes:
    """The bootstrap with all resources of the snapshot as static ones, so that Envoy validates them."""
    message = Parse(bootstrap, Bootstrap())
    static = message.static_resources
    for type_url, put in ((CLUSTER, static.clusters), (LISTENER, static.listeners), (SECRET, static.secrets)):
        put.extend(decoded(snapshot, type_url))
    for index, routes in enumerate(decoded(snapshot, ROUTES)):
        manager = http_connection_manager("routes")
        manager.route_config.CopyFrom(routes)
        chain = FilterChain(filters=[connection_manager_filter(manager)])
        address = socket_address("127.0.0.1", 20000 + index)
        static.listeners.append(Listener(name=f"routes-{index}", address=address, filter_chains=[chain]))
    for endpoints in decoded(snapshot, ENDPOINTS):
        static.clusters.append(Cluster(name=f"of {endpoints.cluster_name}", load_assignment=endpoints))
    document = MessageToDict(message, preserving_proto_field_name=True)
    return json.dumps(_without(document, "sds_config")).encode()


def _without(node: Any, name: str) -> Any:
    # Without a config source a secret's name refers to a static secret. Envoy 1.40 also crashes (SIGSEGV) on a static
    # cluster whose secret comes over ADS; it accepts such a cluster from CDS.
    if isinstance(node, dict):
        return {key: _without(value, name) for key, value in node.items() if key != name}
    return [_without(item, name) for item in node] if isinstance(node, list) else node


_TYPES: dict[str, Any] = {
    CLUSTER: Cluster,
    ENDPOINTS: ClusterLoadAssignment,
    LISTENER: Listener,
    ROUTES: RouteConfiguration,
    SECRET: Secret,
}


def decoded(snapshot: Snapshot, type_url: str) -> list[Any]:
    """The messages of a type in the snapshot."""
    return [_TYPES[type_url].FromString(resource.body) for resource in snapshot.sets[type_url].by_name.values()]
