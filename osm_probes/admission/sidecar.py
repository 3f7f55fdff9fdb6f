"""Options and rules -> what a pod gets: the Envoy container, the init container, and the volume of the bootstrap."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from osm_probes.admission.options import InjectionOptions
from osm_probes.admission.pod import SIDECAR_NAME
from osm_probes.admission.redirect import PROXY_UID, RedirectRules
from osm_probes.mesh.identity import Identity
from osm_probes.mesh.ports import ADMIN_PORT, INBOUND_PORT, PROXY_METRICS_PORT
from osm_probes.xds.app_probes import HTTP_PROBE_PORTS, ProbeKind, ProbeScheme, RewrittenProbe

INIT_NAME: Final = "osm-init"
VOLUME_NAME: Final = "envoy-bootstrap-config-volume"
BOOTSTRAP_FILE: Final = "bootstrap.yaml"
BOOTSTRAP_FOLDER: Final = "/etc/envoy"

# By default Envoy starts one worker for each core of the node, whatever the container's CPU limit is.
_WORKERS: Final = 2
_ENVIRONMENT_FIELDS: Final = {
    "POD_UID": "metadata.uid",
    "POD_NAME": "metadata.name",
    "POD_NAMESPACE": "metadata.namespace",
    "POD_IP": "status.podIP",
    "SERVICE_ACCOUNT": "spec.serviceAccountName",
}
_PORT_NAMES: Final = {
    ProbeKind.LIVENESS: "liveness-port",
    ProbeKind.READINESS: "readiness-port",
    ProbeKind.STARTUP: "startup-port",
}

Json = dict[str, Any]


def envoy_container(options: InjectionOptions, *, identity: Identity, app_probes: tuple[RewrittenProbe, ...]) -> Json:
    """Envoy. It runs as a separate user, by which the redirect rules recognise its connections."""
    arguments = {
        "--log-level": options.log_level,
        "--config-path": f"{BOOTSTRAP_FOLDER}/{BOOTSTRAP_FILE}",
        "--service-cluster": f"{identity.service_account}.{identity.namespace}",
        "--concurrency": str(_WORKERS),
    }
    return {
        "name": SIDECAR_NAME,
        "image": options.sidecar_image,
        **_common(options),
        "command": ["envoy"],
        # Hot restart needs shared memory, which a read-only, unprivileged container does not have.
        "args": [*(word for pair in arguments.items() for word in pair), "--disable-hot-restart"],
        "env": [
            {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in _ENVIRONMENT_FIELDS.items()
        ],
        "ports": [{"name": name, "containerPort": port} for name, port in _ports(app_probes)],
        "volumeMounts": [{"name": VOLUME_NAME, "mountPath": BOOTSTRAP_FOLDER, "readOnly": True}],
        # Envoy opens this port with its first configuration. Before, the pod cannot be called and must not be ready.
        "startupProbe": {"tcpSocket": {"port": PROXY_METRICS_PORT}, "periodSeconds": 1, "failureThreshold": 600},
        "securityContext": {
            "runAsUser": PROXY_UID,
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def init_container(options: InjectionOptions, *, rules: RedirectRules) -> Json:
    """The container that installs the redirect rules, then exits."""
    return {
        "name": INIT_NAME,
        "image": options.init_image,
        **_common(options),
        "command": ["/bin/sh"],
        "args": ["-c", rules.script],
        # The status of the pod then says why the rules cannot be set.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "runAsUser": 0,
            "runAsNonRoot": False,
            "allowPrivilegeEscalation": False,
            # NET_RAW: iptables-legacy opens a raw socket, or fails with "unable to initialize table 'nat'".
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
        },
    }


def bootstrap_volume(secret: str) -> Json:
    """The volume of the bootstrap Secret."""
    return {"name": VOLUME_NAME, "secret": {"secretName": secret}}


def _common(options: InjectionOptions) -> Json:
    parts: Mapping[str, Any] = {"imagePullPolicy": options.pull_policy, "resources": options.resources}
    return {name: value for name, value in parts.items() if value}


def _ports(app_probes: tuple[RewrittenProbe, ...]) -> Iterator[tuple[str, int]]:
    yield from (("proxy-admin", ADMIN_PORT), ("proxy-inbound", INBOUND_PORT), ("proxy-metrics", PROXY_METRICS_PORT))
    kinds = {probe.kind for probe in app_probes if probe.scheme in (ProbeScheme.HTTP, ProbeScheme.HTTPS)}
    yield from ((name, HTTP_PROBE_PORTS[kind]) for kind, name in _PORT_NAMES.items() if kind in kinds)
