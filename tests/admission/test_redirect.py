import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from osm_probes.admission.redirect import redirect_rules
from tests.admission.pods import patched, pod

POD, PEER = "10.203.7.2", "10.203.7.1"
SERVE = """
    import socket, sys, selectors
    wait = selectors.DefaultSelector()
    for port in sys.argv[1:]:
        listener = socket.create_server(("0.0.0.0", int(port)))
        wait.register(listener, selectors.EVENT_READ, port)
    print("ready", flush=True)
    while True:
        for key, _ in wait.select():
            with key.fileobj.accept()[0] as accepted:
                accepted.sendall(key.data.encode())
"""
DIAL = """
    import encodings.idna, json, os, socket, sys  # before setresuid: the other user cannot read the module files
    uid, *targets = sys.argv[1:]
    os.setresuid(int(uid), int(uid), int(uid))
    for target in targets:
        address, port = target.split(":")
        try:
            with socket.create_connection((address, int(port)), timeout=2) as dialled:
                answer = int(dialled.recv(16))
        except OSError as error:
            answer = str(error)
        print(json.dumps(answer))
"""

Dial = Callable[..., list[object]]


def run(command: str, *, text: str = "") -> str:
    done = subprocess.run(command.split(), input=text, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@contextmanager
def serving(namespace: str, *ports: int) -> Iterator[None]:
    """Servers that send their own port on each connection."""
    command = ["ip", "netns", "exec", namespace, sys.executable, "-c", textwrap.dedent(SERVE), *map(str, ports)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.kill()


@pytest.fixture
def dial() -> Iterator[Dial]:
    """A pod and a peer with one link. `dial(who, *targets, uid)` returns, for each target, the port that answered."""
    with ExitStack() as stack:
        for name in ("osm-redirect-pod", "osm-redirect-peer"):
            run(f"ip netns add {name}")
            stack.callback(run, f"ip netns delete {name}")
            run(f"ip -n {name} link set lo up")
        run("ip -n osm-redirect-pod link add eth0 type veth peer name eth0 netns osm-redirect-peer")
        for name, address in (("osm-redirect-pod", POD), ("osm-redirect-peer", PEER)):
            run(f"ip -n {name} address add {address}/24 dev eth0")
            run(f"ip -n {name} link set eth0 up")
        run(f"ip -n osm-redirect-pod route add default via {PEER}")
        stack.enter_context(serving("osm-redirect-pod", 8080, 9999, 15001, 15003, 15010, 15901, 15902, 15903, 15904))
        stack.enter_context(serving("osm-redirect-peer", 80, 6379))

        def connect(who: str, *targets: str, uid: int = 0) -> list[object]:
            command = ["ip", "netns", "exec", f"osm-redirect-{who}", sys.executable, "-c"]
            dialled = subprocess.run(
                [*command, textwrap.dedent(DIAL), str(uid), *targets], capture_output=True, check=True, timeout=20
            )
            return [json.loads(line) for line in dialled.stdout.splitlines()]

        yield connect


def apply(**options: list[int] | list[str]) -> None:
    rules = redirect_rules(**options)  # type: ignore[arg-type] # keyword arguments of one type each
    run("ip netns exec osm-redirect-pod iptables-restore --noflush", text=rules)


@pytest.mark.netns
def test_inbound_connections_go_to_the_sidecar_except_to_metrics_and_probes(dial: Dial) -> None:
    apply()
    targets = [f"{POD}:{port}" for port in (8080, 9999, 15010, 15901, 15902, 15903, 15904)]
    assert dial("peer", *targets) == [15003, 15003, 15010, 15901, 15902, 15903, 15904]


@pytest.mark.netns
def test_outbound_connections_go_to_the_sidecar_except_its_own(dial: Dial) -> None:
    apply()
    assert dial("pod", f"{PEER}:80") == [15001]
    assert dial("pod", f"{PEER}:80", uid=1500) == [80]


@pytest.mark.netns
def test_a_pod_calls_itself_without_the_sidecar(dial: Dial) -> None:
    apply()
    assert dial("pod", f"{POD}:8080", "127.0.0.1:8080", "127.0.0.9:8080") == [8080, 8080, 8080]


@pytest.mark.netns
def test_a_pod_that_calls_itself_by_its_service_arrives_at_its_own_sidecar(dial: Dial) -> None:
    apply()
    assert dial("pod", f"{POD}:8080", "127.0.0.1:8080", "127.0.0.9:8080", uid=1500) == [15003, 8080, 8080]


@pytest.mark.netns
def test_excluded_ports_and_ranges_bypass_the_sidecar(dial: Dial) -> None:
    apply(excluded_inbound_ports=[9999, *range(20000, 20020)], excluded_outbound_ports=[6379])
    assert dial("peer", f"{POD}:9999", f"{POD}:8080") == [9999, 15003]
    assert dial("pod", f"{PEER}:6379", f"{PEER}:80") == [6379, 15001]
    run("ip netns exec osm-redirect-pod iptables -t nat -F")
    apply(excluded_outbound_ranges=["10.203.7.0/24"], included_outbound_ranges=["10.203.0.0/16"])
    assert dial("pod", f"{PEER}:80") == [80]


@pytest.mark.netns
def test_with_included_ranges_no_other_connection_is_redirected(dial: Dial) -> None:
    apply(included_outbound_ranges=["192.0.2.0/24"])
    assert dial("pod", f"{PEER}:80", "192.0.2.7:80") == [80, 15001]


@pytest.mark.netns
def test_rules_can_be_applied_twice(dial: Dial) -> None:
    apply(excluded_inbound_ports=[9999])
    apply(excluded_inbound_ports=[9999])
    assert dial("peer", f"{POD}:9999", f"{POD}:8080") == [9999, 15003]
    assert dial("pod", f"{PEER}:80") == [15001]


@pytest.mark.netns
def test_the_capabilities_of_the_init_container_are_sufficient(dial: Dial) -> None:
    init = patched(pod())["spec"]["initContainers"][0]
    granted = ",".join(f"+{capability.lower()}" for capability in init["securityContext"]["capabilities"]["add"])
    command = ["ip", "netns", "exec", "osm-redirect-pod", "setpriv", f"--bounding-set=-all,{granted}"]
    subprocess.run([*command, *init["command"], *init["args"]], check=True, timeout=20)
    assert dial("peer", f"{POD}:8080") == [15003]


def test_the_user_of_the_proxy_can_be_changed() -> None:
    rules = redirect_rules(proxy_uid=1777)
    assert "--uid-owner 1777 -j RETURN" in rules
    assert "owner 1500" not in rules
