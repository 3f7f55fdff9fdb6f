"""Rows: clients that flood a port with frames or refused requests. These rows run alone on the machine."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.row import FaultError, Mode, Row
from tests.faults.testbed import FaultTestbed

_ADS_FLOODS = ("continuation", "rapid-reset", "settings", "empty-data", "priority", "ping")
_HEALTH_FLOODS = ("continuation", "rapid-reset", "ping")
_CONNECTIONS = 4
_GROWTH = 100_000
"""How many KB each process may grow by: without limits, grpc grows by 500,000 KB."""
_LINES = 50
_SILENT, _SILENT_ROUNDS = 3000, 3
_KEPT = 60_000
"""How many KB the program may keep of the memory of silent connections, which was 290,000 KB."""
_HEALTH_PORT = 9093


def flooded(kind: str, *, port: int = 0) -> Callable[[FaultTestbed], AbstractContextManager[None]]:
    """A flood, during which neither process may grow by more than the limit."""

    @contextlib.contextmanager
    def action(testbed: FaultTestbed) -> Iterator[None]:
        processes = {"program": testbed.pid, "judge": testbed.judge}
        before = {name: _reset_peak(pid) for name, pid in processes.items()}
        with testbed.load(kind, _CONNECTIONS, port=port):
            yield
        for name, pid in processes.items():
            if (peak := _memory(pid, "VmHWM")) > before[name] + _GROWTH:
                raise FaultError(f"the {name} grew from {before[name]} to {peak} KB")

    return action


@contextlib.contextmanager
def refused(testbed: FaultTestbed) -> Iterator[None]:
    """Many proxies that are refused; the log must not grow with their number."""
    with testbed.load("refused", 100):
        yield
    ended = len(testbed.logged("a stream was ended"))
    if not 0 < ended <= _LINES:
        raise FaultError(f"{ended} lines were logged because of refused proxies")


@contextlib.contextmanager
def silent(testbed: FaultTestbed) -> Iterator[None]:
    """Connections that send nothing; when they are closed, the program returns their memory."""
    before = _memory(testbed.pid, "VmRSS")
    for _ in range(_SILENT_ROUNDS):
        with testbed.load("idle", _SILENT):
            testbed.hold(2.0)
    yield
    testbed.eventually(
        lambda: _memory(testbed.pid, "VmRSS") < before + _KEPT, what=f"memory below {before + _KEPT} KB", within=60
    )


def _reset_peak(pid: int) -> int:
    """Forget the highest memory of a process so far. Returns its memory, in KB."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _memory(pid, "VmRSS")


def _memory(pid: int, field: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{field}:"))


def rows(mode: Mode) -> tuple[Row, ...]:
    """The rows of this module."""
    unharmed = Expectation(Truth.HOLDS, Alive.STAYS)
    duration = 6.0 if mode.divisor > 1 else 20.0
    flag = f"--grpc-health-port={_HEALTH_PORT}"
    return (
        *(
            Row(
                f"flood-{kind}", f"{kind.replace('-', ' ')} frames on {_CONNECTIONS} connections to the ADS",
                flooded(f"flood-{kind}"), unharmed, duration=duration, load=True,
            )
            for kind in _ADS_FLOODS
        ),
        *(
            Row(
                f"health-flood-{kind}", f"{kind.replace('-', ' ')} frames to the gRPC health port",
                flooded(f"health-flood-{kind}", port=_HEALTH_PORT), unharmed, duration=duration, load=True,
                flags=(flag,),
            )
            for kind in _HEALTH_FLOODS
        ),
        Row(
            "silent-connections", f"{_SILENT} silent connections to the ADS, {_SILENT_ROUNDS} times, and their memory",
            silent, unharmed, duration=1.0, load=True,
        ),
        Row("refused-proxies", "1,000 refused streams per second", refused, unharmed, duration=duration, load=True),
    )  # fmt: skip
