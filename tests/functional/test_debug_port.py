"""The controller's debug port, which has names, and what its other ports and files do not tell."""

import http.client
import json
import os
import resource
import signal
from pathlib import Path

import pytest

from osm_probes.foundation.listen import listen_on_loopback
from tests.functional.programs import running
from tests.standin import children, until
from tests.standin import running as is_running


def test_the_debug_port_lists_the_proxies_and_the_probe_port_does_not(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path) as program:
        program.until_ready()
        assert json.loads(program.debug("/debug/proxies")) == {"count": 0, "proxies": []}
        assert program.debug("/health/ready") == "Service is ready"
        assert program.get("/debug/proxies") == "404 page not found"
        refused = program.debug("/debug/proxies", "-H", "Host: evil.example")
        assert refused == "403 the debug port answers only requests for localhost, 127.0.0.1 or [::1]"


def test_the_debug_port_is_on_loopback_alone(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path) as program:
        port = program.debug_port
        table = Path(f"/proc/{program.process.pid}/net/tcp").read_text().splitlines()[1:]
        local = [
            line.split()[1] for line in table if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
        ]
        assert local == [f"0100007F:{port:04X}"]
        table = Path(f"/proc/{program.process.pid}/net/tcp6").read_text().splitlines()[1:]
        assert not [line for line in table if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"]


def test_a_program_that_hangs_still_has_a_debug_port_which_says_so(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path) as program:
        program.until_ready()
        port = program.debug_port
        program.process.send_signal(signal.SIGSTOP)
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("GET", "/debug/proxies")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (503, b"the program does not answer")
            connection.close()
        finally:
            program.process.send_signal(signal.SIGCONT)


def test_a_taken_debug_port_is_one_warning_and_changes_no_probe(tmp_path: Path) -> None:
    with listen_on_loopback(0) as taken:
        port = taken.getsockname()[1]
        with running("osm-controller", tmp_path, f"--debug-port={port}") as program:
            program.until_ready()
            (warning,) = program.lines("the debug port is not served: osm proxy list cannot ask here")
            assert warning["level"] == "warn"
            assert warning["error"] == f"cannot listen on 127.0.0.1, port {port}: another process listens there"
            assert program.stop() == 0


def test_the_debug_port_of_a_replaced_judge_is_the_same(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path) as program:
        program.until_ready()
        (judge,) = [pid for pid in children(program.process.pid) if is_running(pid)]
        os.kill(judge, signal.SIGKILL)
        until(lambda: program.debug("/debug/proxies") == '{"count":0,"proxies":[]}', within=15)


@pytest.mark.parametrize("name", ["osm-controller", "osm-injector"])
def test_neither_process_of_a_program_may_leave_a_core_file(name: str, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_CORE)
    with running(name, tmp_path) as program:
        program.until_ready()
        (judge,) = [pid for pid in children(program.process.pid) if is_running(pid)]
        limits = [resource.prlimit(pid, resource.RLIMIT_CORE) for pid in (program.process.pid, judge)]
    expected = 0 if before[1] == 0 else 1
    assert limits == [(expected, expected)] * 2, "a core file has the private keys"
