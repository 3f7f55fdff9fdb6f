"""The object of an AdmissionReview -> a pod with only the fields that its sidecar depends on.

gc=False: a decoded pod has no reference cycles. With the garbage collector, 22,000 containers take eight times as long.
"""

from typing import Final

import msgspec

from osm_probes.foundation.errors import OsmError
from osm_probes.mesh.identity import Identity
from osm_probes.mesh.labels import PROXY_UUID

SIDECAR_NAME: Final = "envoy"
FIELD_LIMIT: Final = 100_000
"""The most fields and list items in a pod. One of 1.5 MiB, which etcd does not store any more, has half as many."""


def bootstrap_secret_name(uuid: str) -> str:
    """The name of the Secret with a proxy's bootstrap."""
    return f"envoy-bootstrap-config-{uuid}"


class InjectionError(OsmError):
    """The pod cannot get a sidecar; the text says why to the pod's author."""


class TooManyFieldsError(InjectionError):
    """The pod is so large that decoding it would take too long."""


class MalformedPodError(InjectionError):
    """The object is not a valid pod; the text names the field."""


class HttpGet(msgspec.Struct, frozen=True, gc=False):
    """An httpGet probe. port: a number, or the name of a port of its container."""

    port: int | str
    path: str | None = None
    scheme: str | None = None
    host: str | None = None


class TcpSocket(msgspec.Struct, frozen=True, gc=False):
    """A tcpSocket probe."""

    port: int | str
    host: str | None = None


class Grpc(msgspec.Struct, frozen=True, gc=False):
    """A gRPC probe."""

    port: int


class Probe(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A probe. Without any of these three it is an exec probe."""

    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    grpc: Grpc | None = None


class Port(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A port of a container."""

    container_port: int
    name: str | None = None


class Mount(msgspec.Struct, frozen=True, gc=False):
    """A container's mount of the volume with that name."""

    name: str


class Container(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A container; an init container with restartPolicy Always is a native sidecar."""

    name: str
    ports: list[Port] | None = None
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    restart_policy: str | None = None
    volume_mounts: list[Mount] | None = None

    @property
    def keeps_running(self) -> bool:
        """True for an init container that runs as long as the pod."""
        return self.restart_policy == "Always"


class SecretSource(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The Secret behind a volume."""

    secret_name: str | None = None


class Volume(msgspec.Struct, frozen=True, gc=False):
    """A volume's name, and its Secret if it has one."""

    name: str
    secret: SecretSource | None = None


class Os(msgspec.Struct, frozen=True, gc=False):
    """The operating system that a pod requires."""

    name: str | None = None


class Metadata(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A pod's names, namespace, labels and annotations. None and absent mean the same."""

    name: str | None = None
    generate_name: str | None = None
    namespace: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class Spec(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A pod's containers, volumes, network, node requirements and service account."""

    containers: list[Container]
    init_containers: list[Container] | None = None
    ephemeral_containers: list[msgspec.Raw] | None = None
    volumes: list[Volume] | None = None
    host_network: bool | None = None
    node_selector: dict[str, str] | None = None
    os: Os | None = None
    service_account_name: str | None = None


class Pod(msgspec.Struct, frozen=True, gc=False):
    """A pod."""

    metadata: Metadata
    spec: Spec

    @property
    def annotations(self) -> dict[str, str]:
        """The pod's annotations."""
        return self.metadata.annotations or {}

    @property
    def init_containers(self) -> list[Container]:
        """The pod's init containers, in the order in which they start."""
        return self.spec.init_containers or []

    @property
    def has_sidecar(self) -> bool:
        """True if the pod was patched before: its sidecar mounts the bootstrap of the proxy in the pod's label."""
        secret = bootstrap_secret_name((self.metadata.labels or {}).get(PROXY_UUID, ""))
        volumes = {
            volume.name for volume in self.spec.volumes or () if volume.secret and volume.secret.secret_name == secret
        }
        return any(
            mount.name in volumes
            for container in (*self.spec.containers, *self.init_containers)
            if container.name == SIDECAR_NAME
            for mount in container.volume_mounts or ()
        )

    def identity(self, namespace: str) -> Identity:
        """The pod's identity. The namespace comes from the request, because a new pod may not have one yet."""
        return Identity(namespace, self.spec.service_account_name or "default")


def decode_pod(body: bytes | msgspec.Raw) -> Pod:
    """Decode a pod's JSON. Raises MalformedPodError and TooManyFieldsError."""
    # Commas in texts count as well; an exact count would take as long as decoding.
    if (commas := bytes(body).count(b",")) > FIELD_LIMIT:
        raise TooManyFieldsError(
            f"the pod has about {commas} fields and list items; at most {FIELD_LIMIT} are possible"
        )
    try:
        return msgspec.json.decode(body, type=Pod)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise MalformedPodError(f"the object is not a pod: {error}") from error
