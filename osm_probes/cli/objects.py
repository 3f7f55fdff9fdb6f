"""Kubernetes objects: the fields that the commands read."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

_MAX_PORT: Final = 65535


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """The metadata of an object."""

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
    """The desired state of a Deployment."""

    replicas: int = 1


class Deployment(msgspec.Struct, frozen=True):
    """A Deployment of a control plane."""

    metadata: Metadata
    spec: DeploymentSpec = msgspec.field(default_factory=DeploymentSpec)


class HttpGet(msgspec.Struct, frozen=True):
    """The HTTP request of a probe. port: its number, or the name of a ContainerPort."""

    path: str = ""
    port: int | str = 0


class Probe(msgspec.Struct, frozen=True, rename="camel"):
    """A probe of a container."""

    http_get: HttpGet | None = None


class ContainerPort(msgspec.Struct, frozen=True, rename="camel"):
    """A port of a container."""

    container_port: int
    name: str = ""


class Container(msgspec.Struct, frozen=True, rename="camel"):
    """The desired state of a container."""

    name: str
    image: str = ""
    args: list[str] = []
    ports: list[ContainerPort] = []
    liveness_probe: Probe | None = None


class PodSpec(msgspec.Struct, frozen=True, rename="camel"):
    """The desired state of a pod."""

    containers: list[Container] = []
    init_containers: list[Container] = []
    service_account_name: str = "default"
    node_name: str = ""


class Waiting(msgspec.Struct, frozen=True):
    """Why a container has not started."""

    reason: str = ""
    message: str = ""


class Terminated(msgspec.Struct, frozen=True, rename="camel"):
    """Why and how a container terminated."""

    reason: str = ""
    message: str = ""
    exit_code: int = 0
    finished_at: datetime | None = None


class ContainerState(msgspec.Struct, frozen=True):
    """The current or the last state of a container."""

    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(msgspec.Struct, frozen=True, rename="camel"):
    """The status of a container, as its kubelet reports it."""

    name: str
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = msgspec.field(default_factory=ContainerState)
    last_state: ContainerState = msgspec.field(default_factory=ContainerState)


class Condition(msgspec.Struct, frozen=True):
    """A condition of a pod. status: True, False or Unknown."""

    type: str
    status: str
    reason: str = ""
    message: str = ""


class PodIP(msgspec.Struct, frozen=True):
    """One of a pod's addresses."""

    ip: str = ""


class PodStatus(msgspec.Struct, frozen=True, rename="camel"):
    """The status of a pod, as the scheduler and its kubelet report it."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: list[Condition] = []
    container_statuses: list[ContainerStatus] = []
    init_container_statuses: list[ContainerStatus] = []
    pod_ips: list[PodIP] = msgspec.field(name="podIPs", default_factory=list)


class Pod(msgspec.Struct, frozen=True):
    """A pod."""

    metadata: Metadata
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)

    def flag_value(self, flag: str) -> str:
        """The value that a container's arguments give as `--flag=value`; empty if none does."""
        for container in self.spec.containers:
            for argument in container.args:
                if argument.startswith(f"--{flag}="):
                    return argument.partition("=")[2]
        return ""

    def flag_port(self, flag: str) -> int:
        """The same, as the number of a port; 0 if it is none."""
        value = self.flag_value(flag)
        return int(value) if value.isdecimal() and len(value) <= 5 and int(value) <= _MAX_PORT else 0

    @property
    def inactive_reason(self) -> str:
        """Why the pod does not run any more, so that its Deployment replaces it; empty if it is active."""
        if self.metadata.deletion_timestamp:
            return "it is being deleted"
        if self.status.phase in {"Failed", "Succeeded"}:
            details = ": ".join(filter(None, (self.status.reason, self.status.message)))
            return f"it has terminated ({self.status.phase}{f', {details}' if details else ''})"
        return ""
