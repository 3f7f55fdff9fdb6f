"""`make demo` shows a request and the probes, and removes everything, also when it is interrupted."""

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
    """A running `make demo`."""
    command = [sys.executable, "-m", "demo"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            # SIGTERM, because a killed demo could not remove its network namespaces.
            process.terminate()
            process.wait(timeout=30)


def network_of(process: subprocess.Popen[str]) -> str:
    """The common prefix of the demo's namespace names; empty until osm-controller was started."""
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        with contextlib.suppress(DemoError):  # the child has exited
            name = run("ip", "netns", "identify", child).strip()
            if name.endswith("-cp"):
                return name.removesuffix("cp")
    return ""


def remaining_namespaces(network: str) -> list[str]:
    return [line for line in run("ip", "netns").splitlines() if line.startswith(network)]


def test_the_demo_shows_a_request_and_the_probes_and_removes_everything(demo: subprocess.Popen[str]) -> None:
    network = eventually(lambda: network_of(demo), what="the demo starts its controller", within=20)
    output, _ = demo.communicate(timeout=50)
    assert demo.returncode == 0, output
    for text in ("The Mesh", "TLSv1.3", "HTTP/1.1 200 OK", "Service is alive", "Service is ready"):
        assert text in output
    assert remaining_namespaces(network) == []


def controller_started(demo: subprocess.Popen[str]) -> None:
    """Return at once: `network_of` has waited for osm-controller already."""


def sidecar_started(demo: subprocess.Popen[str]) -> None:
    """Wait until most parts of the demo run."""
    children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children")
    eventually(lambda: len(children.read_text().split()) >= 3, what="the demo starts a sidecar", within=20)


def all_started(demo: subprocess.Popen[str]) -> None:
    """Wait until the demo prints its first command."""
    assert demo.stdout
    assert any(line.startswith("bookbuyer$") for line in demo.stdout)


@pytest.mark.parametrize("moment", [controller_started, sidecar_started, all_started])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_removes_everything(
    demo: subprocess.Popen[str], moment: Callable[[subprocess.Popen[str]], None], number: signal.Signals
) -> None:
    network = eventually(lambda: network_of(demo), what="the demo starts its controller", within=20)
    moment(demo)
    demo.send_signal(number)
    output, _ = demo.communicate(timeout=30)
    assert demo.returncode == 1, output
    assert output.endswith("interrupted: everything is stopped and removed\n")
    assert "Traceback" not in output
    assert remaining_namespaces(network) == []
