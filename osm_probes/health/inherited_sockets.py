"""Health: the sockets and the memory that a program passes to its judge, by descriptor."""

import dataclasses
import socket
from dataclasses import dataclass
from typing import Self

from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.listen import listen_again, listens
from osm_probes.foundation.logs import logger
from osm_probes.health.heartbeat import Heartbeat
from osm_probes.health.stacks import StackFile


@dataclass(frozen=True, slots=True)
class InheritedSockets:
    """The sockets that a judge answers on, and what it reads of its program.

    grpc: None if grpc.health.v1 is off. debug: None if the program has no debug port, or cannot listen on it.
    """

    http: socket.socket
    heartbeat: Heartbeat
    stacks: StackFile
    grpc: socket.socket | None = None
    debug: socket.socket | None = None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """In the order of the judge's arguments; -1 for a socket that is None."""
        optional = (-1 if listener is None else listener.fileno() for listener in (self.grpc, self.debug))
        return (self.http.fileno(), self.heartbeat.descriptor, self.stacks.descriptor, *optional)

    @classmethod
    def inherited(cls, *descriptors: int) -> Self:
        """The same sockets in the judge, from `descriptors`."""
        http, heartbeat, stacks, *optional = descriptors
        grpc, debug = (socket.socket(fileno=each) if each >= 0 else None for each in optional)
        return cls(socket.socket(fileno=http), Heartbeat(heartbeat), StackFile(stacks), grpc, debug)

    def relisten(self) -> Self:
        """The same, with a new socket for each that was destroyed from outside. Raises as `listen` does."""
        grpc = None if self.grpc is None else _listening(self.grpc)
        return dataclasses.replace(self, http=_listening(self.http), grpc=grpc, debug=self._relisten_debug())

    def _relisten_debug(self) -> socket.socket | None:
        try:
            return None if self.debug is None else _listening(self.debug)
        except OsmError as error:
            logger("debug").warning("the debug port is lost", error=str(error))
            return None


def _listening(listener: socket.socket) -> socket.socket:
    return listener if listens(listener) else listen_again(listener)
