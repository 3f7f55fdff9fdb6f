"""Health: the sockets and the memory that a program passes to its judge, by descriptor."""

import dataclasses
import socket
from dataclasses import dataclass
from typing import Self

from osm_probes.foundation.listen import listen_again, listens
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

    def relisten(self) -> Self:
        """The same, with a new socket for each that was destroyed from outside. Raises as `listen` does."""
        http = self.http if listens(self.http) else listen_again(self.http)
        grpc = self.grpc if self.grpc is None or listens(self.grpc) else listen_again(self.grpc)
        return dataclasses.replace(self, http=http, grpc=grpc)
