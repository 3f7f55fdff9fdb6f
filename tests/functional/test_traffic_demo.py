"""`make demo` shows a request and the probes, and leaves nothing behind, however it ends."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.errors import DemoError
from demo.namespaces import run
from demo.processes import eventually

pytestmark = [pytest.mark.envoy, pytest.mark.netns]
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def demo(envoy: Path) -> Iterator[subprocess.Popen[str]]:
    """`make demo`, started."""
    command = [sys.executable, "-m", "demo"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            # A killed one could take nothing away.
            process.terminate()
            process.wait(timeout=30)


def network_of(process: subprocess.Popen[str]) -> str:
    """What the names of its namespaces begin with, from the moment when the controller was started; else empty."""
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        with contextlib.suppress(DemoError):  # it has ended
            name = run("ip", "netns", "identify", child).strip()
            if name.endswith("-cp"):
                return name.removesuffix("cp")
    return ""


def left_of(network: str) -> list[str]:
    return [line for line in run("ip", "netns").splitlines() if line.startswith(network)]


def test_the_demo_shows_a_request_and_the_probes_and_leaves_nothing(demo: subprocess.Popen[str]) -> None:
    network = eventually(lambda: network_of(demo), what="the demo starts its controller", within=20)
    said, _ = demo.communicate(timeout=50)
    assert demo.returncode == 0, said
    for shown in ("The Mesh", "TLSv1.3", "HTTP/1.1 200 OK", "Service is alive", "Service is ready"):
        assert shown in said
    assert left_of(network) == []


def controller_started(demo: subprocess.Popen[str]) -> None:
    """Its first part runs."""


def sidecar_started(demo: subprocess.Popen[str]) -> None:
    """Most of it runs."""
    children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children")
    eventually(lambda: len(children.read_text().split()) >= 3, what="the demo starts a sidecar", within=20)


def all_started(demo: subprocess.Popen[str]) -> None:
    """It has begun to show something."""
    assert demo.stdout
    assert any(line.startswith("bookbuyer$") for line in demo.stdout)


@pytest.mark.parametrize("moment", [controller_started, sidecar_started, all_started])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(
    demo: subprocess.Popen[str], moment: Callable[[subprocess.Popen[str]], None], number: signal.Signals
) -> None:
    network = eventually(lambda: network_of(demo), what="the demo starts its controller", within=20)
    moment(demo)
    demo.send_signal(number)
    said, _ = demo.communicate(timeout=30)
    assert demo.returncode == 1, said
    assert said.endswith("interrupted: everything is stopped and taken away\n")
    assert "Traceback" not in said
    assert left_of(network) == []
