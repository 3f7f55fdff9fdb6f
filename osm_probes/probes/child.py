"""Keeper -> the judge's process: exec'd, spoken to over a socket pair, ended."""

import socket
import subprocess
import sys
from dataclasses import dataclass
from os import getpid
from pathlib import Path
from typing import Final

from osm_probes.foundation.errors import OsmError
from osm_probes.health.pulse import Pulse
from osm_probes.health.stacks import StackFile
from osm_probes.probes.link import LINE_LIMIT, ToJudge, ToProgram, line_of, message_to_program

_CHUNK: Final = 65536
_PATIENCE: Final = 2.0  # a judge that does not read for so long is as good as dead


class JudgeGoneError(OsmError):
    """The judge ended, or does not speak or listen any more."""


@dataclass(frozen=True, slots=True)
class Estate:
    """What each judge of a program inherits: the sockets where it answers, and what it reads of the program.

    `grpc` is the socket of grpc.health.v1; None = it is not served.
    """

    http: socket.socket
    pulse: Pulse
    stacks: StackFile
    grpc: socket.socket | None = None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """In the order of the judge's arguments."""
        always = (self.http.fileno(), self.pulse.descriptor, self.stacks.descriptor)
        return always if self.grpc is None else (*always, self.grpc.fileno())


class JudgeProcess:
    """A judge that answers on the estate's sockets until it is ended or this process ends.

    Never forked alone: its interpreter is a new one, so nothing of this process's threads and libraries goes along.
    """

    def __init__(self, estate: Estate, *, level: str) -> None:
        self._rest = b""
        self._pair, theirs = socket.socketpair()
        try:
            passed = (theirs.fileno(), *estate.descriptors)
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, with numbers
                # -P: a file in the working directory must not stand in for a module of the judge.
                [sys.executable, "-P", "-m", "osm_probes.judge", level, *map(str, (getpid(), *passed))],
                stdin=subprocess.DEVNULL,
                pass_fds=passed,
                start_new_session=True,  # a terminal's Ctrl-C is for the program, which ends its judge last
            )
        except BaseException:
            self._pair.close()
            raise
        finally:
            theirs.close()
        self._pair.settimeout(_PATIENCE)

    @property
    def descriptor(self) -> int:
        """Readable when the judge has said something or has ended."""
        return self._pair.fileno()

    @property
    def waits(self) -> bool:
        """Whether it is late, not stuck."""
        return waits_for_machine(self._process.pid)

    def say(self, message: ToJudge) -> None:
        """Tell it something. Raises JudgeGoneError."""
        try:
            self._pair.sendall(line_of(message))
        except OSError as error:
            raise self._gone(error) from error

    def hear(self) -> list[ToProgram]:
        """What it has said; waits for some. Raises JudgeGoneError, MalformedMessageError."""
        try:
            chunk = self._pair.recv(_CHUNK)
        except OSError as error:
            raise self._gone(error) from error
        if not chunk or len(self._rest) > LINE_LIMIT:
            raise self._gone(EOFError("it closed its end"))
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [message_to_program(line) for line in lines]

    def end(self, *, within: float) -> None:
        """Let it end by itself `within` seconds, then kill it."""
        self._pair.close()
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _gone(self, error: Exception) -> JudgeGoneError:
        status = self._process.poll()
        return JudgeGoneError(f"exit status {status}" if status is not None else f"it does not listen: {error}")


def waits_for_machine(pid: int) -> bool:
    """Whether a process would go on at once if it were given a processor, or its disk answered."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    # proc_pid_stat(5): behind the command's name, which may hold anything.
    return status.rpartition(b")")[2].split()[0] in {b"R", b"D"}
