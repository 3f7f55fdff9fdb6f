"""A proxy between a program and the API server, which tests can make fail."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.kubernetes.apiserver import ApiServer, free_ports
from tests.standin import until


class FaultyConnection:
    """A program's connection to the API server. kubeconfig: makes the program use it."""

    def __init__(self, kubeconfig: Path, mode_file: Path) -> None:
        self.kubeconfig = kubeconfig
        self._mode_file = mode_file

    @contextlib.contextmanager
    def failing(self, mode: str) -> Iterator[None]:
        """Fail in this mode of `tests/faults/faulty_api_server.py` while the block lasts."""
        self._mode_file.write_text(mode)
        try:
            yield
        finally:
            self._mode_file.write_text("")


@contextlib.contextmanager
def faulty_connection(server: ApiServer, user: str, *groups: str, folder: Path) -> Iterator[FaultyConnection]:
    """A connection as this user, whose proxy ends with the block."""
    (port,) = free_ports(1)
    mode_file = folder / "mode"
    mode_file.write_text("")
    direct = folder / "direct.kubeconfig"
    server.kubeconfig_for(user, *groups).rename(direct)
    kubeconfig = server.kubeconfig_for(user, *groups, url=f"https://127.0.0.1:{port}").rename(folder / "own.kubeconfig")
    command = [sys.executable, "-m", "tests.faults.faulty_api_server", str(port), str(server.port)]
    with (folder / "proxy.log").open("wb") as log:
        files = [str(server.pki.folder), str(direct), str(mode_file)]
        process = subprocess.Popen([*command, *files], cwd=Path(__file__).parents[2], stderr=log)
    try:
        until(lambda: _listens(port), within=15)
        yield FaultyConnection(kubeconfig, mode_file)
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
