"""AdmissionReview's object -> the part of a pod that decides about its sidecar, typed; the rest stays unread."""

from typing import Final

import msgspec

from osm_probes.foundation.errors import OsmError
from osm_probes.mesh.identity import Identity
from osm_probes.mesh.labels import PROXY_UUID

SIDECAR_NAME: Final = "envoy"


def secret_name(uuid: str) -> str:
    """The Secret with a proxy's bootstrap."""
    return f"envoy-bootstrap-config-{uuid}"


class UnfitPodError(OsmError):
    """This pod cannot be given a sidecar; the text says why, to the person who made it."""


class MalformedPodError(UnfitPodError):
    """The object is no pod; the text names the field."""


class HttpGet(msgspec.Struct, frozen=True):
    """An httpGet probe. `port` is a number or the name of a port of its container."""

    port: int | str
    path: str | None = None
    scheme: str | None = None
    host: str | None = None


class TcpSocket(msgspec.Struct, frozen=True):
    """A tcpSocket probe."""

    port: int | str
    host: str | None = None


class Grpc(msgspec.Struct, frozen=True):
    """A gRPC probe."""

    port: int


class Probe(msgspec.Struct, frozen=True, rename="camel"):
    """A probe; with none of these three it is an exec probe."""

    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    grpc: Grpc | None = None


class Port(msgspec.Struct, frozen=True, rename="camel"):
    """A port of a container."""

    container_port: int
    name: str | None = None


class Mount(msgspec.Struct, frozen=True):
    """A container's mount of the volume of that name."""

    name: str


class Container(msgspec.Struct, frozen=True, rename="camel"):
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


class SecretSource(msgspec.Struct, frozen=True, rename="camel"):
    """The Secret behind a volume."""

    secret_name: str | None = None


class Volume(msgspec.Struct, frozen=True):
    """A volume's name, and its Secret if it has one."""

    name: str
    secret: SecretSource | None = None


class Os(msgspec.Struct, frozen=True):
    """The operating system that a pod asks for."""

    name: str | None = None


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """A pod's names, labels and annotations. None and absent are the same."""

    name: str | None = None
    generate_name: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class Spec(msgspec.Struct, frozen=True, rename="camel"):
    """What runs in the pod."""

    containers: list[Container]
    init_containers: list[Container] | None = None
    volumes: list[Volume] | None = None
    host_network: bool | None = None
    node_selector: dict[str, str] | None = None
    os: Os | None = None
    service_account_name: str | None = None


class Pod(msgspec.Struct, frozen=True):
    """A pod as far as it matters here."""

    metadata: Metadata
    spec: Spec

    @property
    def annotations(self) -> dict[str, str]:
        """Its annotations."""
        return self.metadata.annotations or {}

    @property
    def init_containers(self) -> list[Container]:
        """Its init containers, in the order they start."""
        return self.spec.init_containers or []

    @property
    def has_sidecar(self) -> bool:
        """True if it was patched before: its sidecar mounts the bootstrap of the proxy that its label names."""
        secret = secret_name((self.metadata.labels or {}).get(PROXY_UUID, ""))
        volumes = {each.name for each in self.spec.volumes or () if each.secret and each.secret.secret_name == secret}
        containers = (*self.spec.containers, *self.init_containers)
        mounts = (mount for each in containers if each.name == SIDECAR_NAME for mount in each.volume_mounts or ())
        return any(mount.name in volumes for mount in mounts)

    def identity(self, namespace: str) -> Identity:
        """Who it is to the mesh. Its namespace comes from the request: the object need not have one yet."""
        return Identity(namespace, self.spec.service_account_name or "default")


def decode_pod(body: bytes | msgspec.Raw) -> Pod:
    """Read a pod's JSON. Raises MalformedPodError."""
    try:
        return msgspec.json.decode(body, type=Pod)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise MalformedPodError(f"the object is no pod: {error}") from error
