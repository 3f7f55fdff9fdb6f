"""Kubernetes objects -> the fields that a bug report keeps. Fields that are not listed here never leave the cluster.

A shape says what is kept: a mapping keeps these fields, a list keeps the shape of its one element for each element, a
function keeps what it returns. Texts of others, such as values of variables, are not among them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from osm_probes.mesh.labels import (
    APP,
    IGNORE,
    INBOUND_PORT_EXCLUSIONS,
    INJECTION,
    MESH_NAME,
    METRICS,
    MONITORED_BY,
    OUTBOUND_IP_RANGE_EXCLUSIONS,
    OUTBOUND_IP_RANGE_INCLUSIONS,
    OUTBOUND_PORT_EXCLUSIONS,
    PROXY_UUID,
    SERVICE_NAME,
)

Shape: TypeAlias = "Mapping[str, Shape] | Sequence[Shape] | Callable[[object], object]"

MAX_ELEMENTS: Final = 500
_MAX_TEXT: Final = 2000
_HIDDEN: Final = "…"
_MAX_FLAG: Final = 50
_KNOWN_PREFIX: Final = "app.kubernetes.io/"
_KNOWN_LABELS: Final = frozenset(
    (
        *(APP, MESH_NAME, PROXY_UUID, MONITORED_BY, IGNORE, INJECTION, METRICS, SERVICE_NAME),
        *(INBOUND_PORT_EXCLUSIONS, OUTBOUND_PORT_EXCLUSIONS),
        *(OUTBOUND_IP_RANGE_EXCLUSIONS, OUTBOUND_IP_RANGE_INCLUSIONS),
        *("pod-template-hash", "kubernetes.io/metadata.name", "deployment.kubernetes.io/revision"),
    )
)
# The value of any other flag, such as --vault-token, may be a secret.
_KNOWN_FLAGS: Final = frozenset(
    f"--{name}"
    for name in (
        *("verbosity", "mesh-name", "osm-namespace", "osm-version", "osm-config-name", "ca-bundle-secret-name"),
        *("certificate-manager", "trust-domain", "webhook-config-name", "webhook-timeout", "webhook-port"),
        *("http-port", "ads-port", "debug-port", "grpc-health-port", "bind-address", "max-data-plane-connections"),
        *("heartbeat-limit", "canary-limit", "drain-delay", "grace", "native-sidecars", "enable-reconciler"),
    )
)
_KNOWN_COMMANDS: Final = frozenset({"/osm-controller", "/osm-injector", "osm-controller", "osm-injector"})


def keep(value: object, shape: Shape) -> object:
    """The part of a JSON value that the shape keeps; None if the value has another form than the shape."""
    if callable(shape):
        return shape(value)
    if isinstance(shape, Mapping):
        if not isinstance(value, dict):
            return None
        kept = {name: keep(value[name], inner) for name, inner in shape.items() if name in value}
        return {name: part for name, part in kept.items() if part is not None}
    if not isinstance(value, list):
        return None
    parts = [keep(element, shape[0]) for element in value[:MAX_ELEMENTS]]
    return [part for part in parts if part is not None]


def scalar(value: object) -> object:
    """A number, a boolean or a text, which is cut if it is long."""
    if isinstance(value, str):
        return value if len(value) <= _MAX_TEXT else value[:_MAX_TEXT] + _HIDDEN
    return value if isinstance(value, bool | int | float) else None


def labels(value: object) -> object:
    """The values of labels and annotations that are known, and the names of the others."""
    if not isinstance(value, dict):
        return None
    items = list(value.items())[:MAX_ELEMENTS]
    return {name: scalar(text) if _is_known(name) else _HIDDEN for name, text in items}


def arguments(value: object) -> object:
    """The names of flags, and the values of known ones."""
    return [_argument(each) for each in value[:MAX_ELEMENTS]] if isinstance(value, list) else None


def path_without_query(value: object) -> object:
    """The path of a probe, whose query may have a token."""
    return scalar(value.partition("?")[0]) if isinstance(value, str) else None


def quantities(value: object) -> object:
    """Amounts of resources."""
    return {name: scalar(amount) for name, amount in value.items()} if isinstance(value, dict) else None


def kinds_of_source(value: object) -> object:
    """Of a variable or a volume: the name, and which kinds of source it has, without their contents and names."""
    if not isinstance(value, dict):
        return None
    return {name: scalar(text) if name == "name" else _HIDDEN for name, text in value.items()}


def kinds_of_reference(value: object) -> object:
    """Of a reference to a Secret or a ConfigMap: which of them it is, without the name."""
    return sorted(value) if isinstance(value, dict) else None


def _is_known(name: str) -> bool:
    # Not, for example, kubectl.kubernetes.io/last-applied-configuration with a whole manifest, and not
    # kubernetes.io/change-cause with a command.
    return name in _KNOWN_LABELS or name.startswith(_KNOWN_PREFIX)


def _argument(argument: object) -> str:
    if argument in _KNOWN_COMMANDS:
        return str(argument)
    flag, equals, value = str(argument).partition("=")
    if not flag.startswith("--"):
        return _HIDDEN
    if flag not in _KNOWN_FLAGS:
        return f"{flag if _is_flag_name(flag) else _HIDDEN}{f'={_HIDDEN}' if equals else ''}"
    return f"{flag}{equals}{scalar(value)}"


def _is_flag_name(flag: str) -> bool:
    return len(flag) <= _MAX_FLAG and flag.removeprefix("--").replace("-", "").isalpha()


METADATA: Final[Shape] = {
    **dict.fromkeys(("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp"), scalar),
    "deletionTimestamp": scalar,
    "labels": labels,
    "annotations": labels,
    "ownerReferences": [dict.fromkeys(("kind", "name", "uid", "controller"), scalar)],
}

_CONDITION: Final[Shape] = dict.fromkeys(
    ("type", "status", "reason", "message", "lastTransitionTime", "lastUpdateTime", "lastProbeTime"), scalar
)
_PROBE: Final[Shape] = {
    "httpGet": {"path": path_without_query, "port": scalar, "scheme": scalar},
    "tcpSocket": {"port": scalar},
    "grpc": {"port": scalar},
    **dict.fromkeys(
        ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"), scalar
    ),
    "terminationGracePeriodSeconds": scalar,
}
_SECURITY: Final[Shape] = {
    **dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup", "runAsNonRoot", "readOnlyRootFilesystem"), scalar),
    **dict.fromkeys(("privileged", "allowPrivilegeEscalation"), scalar),
    "capabilities": {"add": [scalar], "drop": [scalar]},
}
_CONTAINER: Final[Shape] = {
    **dict.fromkeys(("name", "image", "imagePullPolicy", "restartPolicy", "terminationMessagePolicy"), scalar),
    "command": arguments,
    "args": arguments,
    "env": [kinds_of_source],
    "envFrom": [kinds_of_reference],
    "ports": [dict.fromkeys(("name", "containerPort", "hostPort", "protocol"), scalar)],
    "resources": {"limits": quantities, "requests": quantities},
    **dict.fromkeys(("startupProbe", "livenessProbe", "readinessProbe"), _PROBE),
    "volumeMounts": [dict.fromkeys(("name", "mountPath", "readOnly"), scalar)],
    "securityContext": _SECURITY,
}
_POD_SPEC: Final[Shape] = {
    "initContainers": [_CONTAINER],
    "containers": [_CONTAINER],
    "volumes": [kinds_of_source],
    "securityContext": _SECURITY,
    "tolerations": [dict.fromkeys(("operator", "effect", "tolerationSeconds"), scalar)],
    **dict.fromkeys(
        ("serviceAccountName", "automountServiceAccountToken", "nodeName", "hostNetwork", "dnsPolicy", "restartPolicy"),
        scalar,
    ),
    **dict.fromkeys(("priorityClassName", "schedulerName", "terminationGracePeriodSeconds"), scalar),
}
_STATE: Final[Shape] = {
    "waiting": dict.fromkeys(("reason", "message"), scalar),
    "running": {"startedAt": scalar},
    "terminated": dict.fromkeys(("reason", "message", "exitCode", "signal", "startedAt", "finishedAt"), scalar),
}
_CONTAINER_STATUS: Final[Shape] = {
    **dict.fromkeys(("name", "ready", "started", "restartCount", "image", "imageID"), scalar),
    "state": _STATE,
    "lastState": _STATE,
}

POD: Final[Shape] = {
    "metadata": METADATA,
    "spec": _POD_SPEC,
    "status": {
        **dict.fromkeys(("phase", "reason", "message", "startTime", "qosClass"), scalar),
        "podIPs": [{"ip": scalar}],
        "conditions": [_CONDITION],
        "initContainerStatuses": [_CONTAINER_STATUS],
        "containerStatuses": [_CONTAINER_STATUS],
    },
}
DEPLOYMENT: Final[Shape] = {
    "metadata": METADATA,
    "spec": {
        "replicas": scalar,
        "paused": scalar,
        "strategy": {"type": scalar},
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels, "annotations": labels}, "spec": _POD_SPEC},
    },
    "status": {
        **dict.fromkeys(("observedGeneration", "replicas", "updatedReplicas", "readyReplicas"), scalar),
        **dict.fromkeys(("availableReplicas", "unavailableReplicas"), scalar),
        "conditions": [_CONDITION],
    },
}
EVENT: Final[Shape] = {
    "metadata": dict.fromkeys(("name", "namespace", "creationTimestamp"), scalar),
    "involvedObject": dict.fromkeys(("kind", "name", "uid"), scalar),
    **dict.fromkeys(("type", "reason", "message", "count", "firstTimestamp", "lastTimestamp", "eventTime"), scalar),
    "series": dict.fromkeys(("count", "lastObservedTime"), scalar),
}
SERVICE: Final[Shape] = {
    "metadata": METADATA,
    "spec": {
        **dict.fromkeys(("type", "clusterIP", "ipFamilyPolicy", "internalTrafficPolicy"), scalar),
        "ipFamilies": [scalar],
        "selector": labels,
        "ports": [dict.fromkeys(("name", "port", "targetPort", "protocol"), scalar)],
    },
}
ENDPOINT_SLICE: Final[Shape] = {
    "metadata": METADATA,
    "addressType": scalar,
    "ports": [dict.fromkeys(("name", "port", "protocol"), scalar)],
    "endpoints": [
        {
            "addresses": [scalar],
            "conditions": dict.fromkeys(("ready", "serving", "terminating"), scalar),
            "nodeName": scalar,
            "targetRef": dict.fromkeys(("kind", "name"), scalar),
        }
    ],
}
WEBHOOK_CONFIGURATION: Final[Shape] = {
    "metadata": METADATA,
    "webhooks": [
        {
            **dict.fromkeys(
                ("name", "failurePolicy", "matchPolicy", "sideEffects", "timeoutSeconds", "reinvocationPolicy"), scalar
            ),
            # Not "url", which may have a password, and not the bundle: verify.json says whether it is right.
            "clientConfig": {"service": dict.fromkeys(("namespace", "name", "path", "port"), scalar)},
            "rules": [{"operations": [scalar], "apiGroups": [scalar], "resources": [scalar], "scope": scalar}],
            "namespaceSelector": {"matchLabels": labels, "matchExpressions": [{"key": scalar, "operator": scalar}]},
            "objectSelector": {"matchLabels": labels, "matchExpressions": [{"key": scalar, "operator": scalar}]},
        }
    ],
}
MESH_CONFIG: Final[Shape] = {
    "metadata": METADATA,
    "spec": {
        "certificate": dict.fromkeys(("serviceCertValidityDuration", "certKeyBitSize"), scalar),
        "observability": dict.fromkeys(("osmLogLevel", "enableDebugServer"), scalar),
        "sidecar": dict.fromkeys(
            ("logLevel", "maxDataPlaneConnections", "configResyncInterval", "enablePrivilegedInitContainer"), scalar
        ),
        "traffic": dict.fromkeys(("enablePermissiveTrafficPolicyMode", "enableEgress", "useHTTPSIngress"), scalar),
    },
}
