"""The Kubernetes API's objects, as far as the commands read them."""

from collections.abc import Mapping
from datetime import datetime

import msgspec


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """Whose object it is and what is written on it."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    deletion_timestamp: str | None = None


class Namespace(msgspec.Struct, frozen=True):
    """A namespace."""

    metadata: Metadata


class DeploymentSpec(msgspec.Struct, frozen=True):
    """What a Deployment wants."""

    replicas: int = 1


class Deployment(msgspec.Struct, frozen=True):
    """A Deployment of a control plane."""

    metadata: Metadata
    spec: DeploymentSpec = msgspec.field(default_factory=DeploymentSpec)


class HttpGet(msgspec.Struct, frozen=True):
    """What a kubelet asks."""

    path: str = ""
    port: int | str = 0


class Probe(msgspec.Struct, frozen=True, rename="camel"):
    """A probe of a container."""

    http_get: HttpGet | None = None


class ContainerPort(msgspec.Struct, frozen=True, rename="camel"):
    """A port with its name."""

    container_port: int
    name: str = ""


class Container(msgspec.Struct, frozen=True, rename="camel"):
    """A container as it is wanted."""

    name: str
    image: str = ""
    args: list[str] = []
    ports: list[ContainerPort] = []
    liveness_probe: Probe | None = None


class PodSpec(msgspec.Struct, frozen=True, rename="camel"):
    """A pod as it is wanted."""

    containers: list[Container] = []
    init_containers: list[Container] = []
    service_account_name: str = "default"
    node_name: str = ""


class Waiting(msgspec.Struct, frozen=True):
    """Why a container does not run yet."""

    reason: str = ""
    message: str = ""


class Terminated(msgspec.Struct, frozen=True, rename="camel"):
    """How a container ended."""

    reason: str = ""
    message: str = ""
    exit_code: int = 0
    finished_at: datetime | None = None


class ContainerState(msgspec.Struct, frozen=True):
    """What a container does now, or did last."""

    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(msgspec.Struct, frozen=True, rename="camel"):
    """A container as its kubelet sees it."""

    name: str
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = msgspec.field(default_factory=ContainerState)
    last_state: ContainerState = msgspec.field(default_factory=ContainerState)


class Condition(msgspec.Struct, frozen=True):
    """A fact about a pod, or that it is none."""

    type: str
    status: str
    reason: str = ""
    message: str = ""


class PodStatus(msgspec.Struct, frozen=True, rename="camel"):
    """A pod as its kubelet and the scheduler see it."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: list[Condition] = []
    container_statuses: list[ContainerStatus] = []
    init_container_statuses: list[ContainerStatus] = []


class Pod(msgspec.Struct, frozen=True):
    """A pod."""

    metadata: Metadata
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)

    def flag(self, flag: str) -> str:
        """What a container is given by `--flag=value`; "" if none is."""
        for container in self.spec.containers:
            for argument in container.args:
                if argument.startswith(f"--{flag}="):
                    return argument.partition("=")[2]
        return ""

    @property
    def leaving(self) -> str:
        """Why it is a pod of the past, for which another one stands; "" if it is none."""
        if self.metadata.deletion_timestamp:
            return "it is being deleted"
        if self.status.phase in {"Failed", "Succeeded"}:
            words = ": ".join(filter(None, (self.status.reason, self.status.message)))
            return f"it has ended ({self.status.phase}{f', {words}' if words else ''})"
        return ""
