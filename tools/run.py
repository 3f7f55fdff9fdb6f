"""`make run`: osm-controller and osm-injector serve the example mesh until Ctrl-C."""

import http.client
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final

_TOP: Final = Path(__file__).parents[1]
_STATE: Final = _TOP / ".run"
_COMMON: Final = ["--mesh-dir", str(_TOP / "examples/bookstore"), "--ca-dir", str(_STATE / "ca")]
_HTTP_PORTS: Final = {"osm-controller": 9091, "osm-injector": 9095}
_PROGRAMS: Final = {
    "osm-controller": [*_COMMON],
    "osm-injector": [*_COMMON, "--http-port", str(_HTTP_PORTS["osm-injector"])],
}
_START_LIMIT: Final = 30.0
_STOP_LIMIT: Final = 30.0

_TOUR: Final = """
Both programs are ready. In another terminal:

  curl -i localhost:9091/health/alive              # osm-controller: its ADS is running
  curl -i localhost:9091/health/ready              # a proxy that dials the ADS now is served
  curl -ik https://localhost:9090/healthz          # osm-injector: it can inject sidecars
  curl -s localhost:9091/metrics | grep ^osm_
  .venv/bin/osm proxy bootstrap bookstore/bookstore-0 --mesh-dir examples/bookstore \\
    --ca-dir .run/ca --output .run/bootstrap.json

Edit the files in examples/bookstore and watch {log}. Ctrl-C stops both programs.
"""


def main() -> int:
    """Start both programs, print commands to try, wait for Ctrl-C. Returns the exit status."""
    _STATE.mkdir(exist_ok=True)
    signal.signal(signal.SIGTERM, _interrupt)
    running: dict[str, subprocess.Popen[bytes]] = {}
    started = time.monotonic()
    try:
        for name, flags in _PROGRAMS.items():
            running[name] = _start(name, flags)
        for name, program in running.items():
            if not _until_ready(name, program):
                return 1
            took = time.monotonic() - started
            print(f"{name:<15} ready after {took:.1f} s; logs in {_log(name).relative_to(_TOP)}", flush=True)
        print(_TOUR.format(log=_log("osm-controller").relative_to(_TOP)), flush=True)
        return _watch(running)
    except KeyboardInterrupt:
        print("\nStopping both programs (they drain for 5 s; press Ctrl-C again to kill them)", flush=True)
        return 0
    finally:
        _stop(running)


def _interrupt(_number: int, _process: FrameType | None) -> None:
    raise KeyboardInterrupt


def _log(name: str) -> Path:
    return _STATE / f"{name}.log"


def _start(name: str, flags: list[str]) -> subprocess.Popen[bytes]:
    # A new session: Ctrl-C reaches only this process, which then stops the programs in order.
    with _log(name).open("wb") as log:
        command = [str(Path(sys.executable).with_name(name)), *flags]
        return subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)


def _until_ready(name: str, program: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + _START_LIMIT
    while time.monotonic() < deadline:
        if program.poll() is not None:
            _explain(name, f"exited with status {program.returncode}")
            return False
        if _ready(_HTTP_PORTS[name]):
            return True
        time.sleep(0.1)
    _explain(name, f"is not ready after {_START_LIMIT:g} s")
    return False


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection("localhost", port, timeout=5)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _explain(name: str, failure: str) -> None:
    print(f"{name} {failure}. The last lines of {_log(name).relative_to(_TOP)}:", file=sys.stderr)
    for line in _log(name).read_text(errors="replace").splitlines()[-5:]:
        try:
            record = json.loads(line)
            print(f"  {record['level']}: {record['message']} {record.get('error', '')}", file=sys.stderr)
        except (ValueError, KeyError):
            print(f"  {line}", file=sys.stderr)


def _watch(running: dict[str, subprocess.Popen[bytes]]) -> int:
    while True:
        for name, program in running.items():
            if program.poll() is not None:
                _explain(name, f"exited with status {program.returncode}")
                return 1
        time.sleep(0.5)


def _stop(running: dict[str, subprocess.Popen[bytes]]) -> None:
    def kill(_number: int = 0, _process: FrameType | None = None) -> None:
        for program in running.values():
            program.kill()

    # A second Ctrl-C must kill the programs and not this process, which would leave them running.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, kill)
    for program in running.values():
        program.terminate()
    deadline = time.monotonic() + _STOP_LIMIT
    try:
        for program in running.values():
            program.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        kill()


if __name__ == "__main__":
    sys.exit(main())
