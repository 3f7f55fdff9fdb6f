"""The sockets and the memory that a program passes to its judge, by descriptor."""

import socket
from dataclasses import dataclass

from osm_probes.health.heartbeat import Heartbeat
from osm_probes.health.stacks import StackFile


@dataclass(frozen=True, slots=True)
class InheritedSockets:
    """The sockets that a judge answers on, and what it reads of its program. grpc: None if grpc.health.v1 is off."""

    http: socket.socket
    heartbeat: Heartbeat
    stacks: StackFile
    grpc: socket.socket | None = None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """In the order of the judge's arguments."""
        always = (self.http.fileno(), self.heartbeat.descriptor, self.stacks.descriptor)
        return always if self.grpc is None else (*always, self.grpc.fileno())
