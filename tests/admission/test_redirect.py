import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from osm_probes.admission.redirect import redirect_rules
from tests.admission.pods import patched, pod
from tests.standin import until

POD, PEER = (f"osm-redirect-{name}-{os.getpid()}" for name in ("pod", "peer"))
PORTS = (8080, 9999, 15001, 15003, 15010, 15901, 15902, 15903, 15904)
SERVE = """
    import socket, sys, selectors
    wait = selectors.DefaultSelector()
    for port in sys.argv[1:]:
        listener = socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True)
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
        address, _, port = target.rpartition(":")
        try:
            with socket.create_connection((address, int(port)), timeout=2) as dialled:
                answer = int(dialled.recv(16))
        except OSError as error:
            answer = str(error)
        print(json.dumps(answer))
"""

Dial = Callable[..., list[object]]


@dataclass(frozen=True)
class Family:
    """Addresses and ranges of one address family: range and wider contain the peer, elsewhere_range does not."""

    pod: str
    peer: str
    loopback: str
    further: str
    range: str
    wider: str
    elsewhere: str
    elsewhere_range: str
    prefix: int


IPV4 = Family(
    *("10.203.7.2", "10.203.7.1", "127.0.0.1", "127.0.0.9"),
    *("10.203.7.0/24", "10.203.0.0/16", "192.0.2.7", "192.0.2.0/24"),
    24,
)
IPV6 = Family(
    *("fd00:203::2", "fd00:203::1", "::1", "::1"),
    *("fd00:203::/64", "fd00::/8", "2001:db8::7", "2001:db8::/32"),
    64,
)
pytestmark = [pytest.mark.netns, pytest.mark.ipv6]
both_families = pytest.mark.parametrize("ip", [IPV4, IPV6], ids=["IPv4", "IPv6"])


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
        for name in (POD, PEER):
            run(f"ip netns add {name}")
            stack.callback(run, f"ip netns delete {name}")
            run(f"ip -n {name} link set lo up")
        run(f"ip -n {POD} link add eth0 type veth peer name eth0 netns {PEER}")
        for name, role in ((POD, "pod"), (PEER, "peer")):
            run(f"ip -n {name} link set eth0 up")
            for ip in (IPV4, IPV6):
                run(f"ip -n {name} address add {getattr(ip, role)}/{ip.prefix} dev eth0 nodad")
        for ip in (IPV4, IPV6):
            run(f"ip -n {POD} route add default via {ip.peer}")
        stack.enter_context(serving(POD, *PORTS))
        stack.enter_context(serving(PEER, 80, 6379))

        def connect(who: str, *targets: str, uid: int = 0) -> list[object]:
            command = ["ip", "netns", "exec", POD if who == "pod" else PEER, sys.executable, "-c"]
            dialled = subprocess.run(
                [*command, textwrap.dedent(DIAL), str(uid), *targets], capture_output=True, check=True, timeout=20
            )
            return [json.loads(line) for line in dialled.stdout.splitlines()]

        yield connect


def apply(**options: list[int] | list[str]) -> str:
    """Set the rules as the init container does, and return what it says."""
    rules = redirect_rules(**options)  # type: ignore[arg-type] # keyword arguments of one type each
    return run_script(rules.script).stdout


def run_script(script: str, *, path: str = os.environ["PATH"]) -> "subprocess.CompletedProcess[str]":
    """Run the script in the pod, with the programs of `path`."""
    command = ["ip", "netns", "exec", POD, "env", f"PATH={path}", "/bin/sh", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


@both_families
def test_inbound_connections_go_to_the_sidecar_except_to_metrics_and_probes(dial: Dial, ip: Family) -> None:
    assert apply() == ""
    targets = [f"{ip.pod}:{port}" for port in (8080, 9999, 15010, 15901, 15902, 15903, 15904)]
    assert dial("peer", *targets) == [15003, 15003, 15010, 15901, 15902, 15903, 15904]


def test_inbound_connections_to_the_link_local_address_go_to_the_sidecar(dial: Dial) -> None:
    apply()
    show = f"ip -oneline -n {POD} -6 address show dev eth0 scope link -tentative"
    # The kernel makes the address some time after the link is up, and then searches for duplicates for a second.
    address = until(lambda: run(show), within=20).split()[3].partition("/")[0]
    assert dial("peer", f"{address}%eth0:8080") == [15003]


@both_families
def test_outbound_connections_go_to_the_sidecar_except_its_own(dial: Dial, ip: Family) -> None:
    apply()
    assert dial("pod", f"{ip.peer}:80") == [15001]
    assert dial("pod", f"{ip.peer}:80", uid=1500) == [80]


@both_families
def test_a_pod_calls_itself_without_the_sidecar(dial: Dial, ip: Family) -> None:
    apply()
    assert dial("pod", *(f"{address}:8080" for address in (ip.pod, ip.loopback, ip.further))) == [8080] * 3


@both_families
def test_a_pod_that_calls_itself_by_its_service_arrives_at_its_own_sidecar(dial: Dial, ip: Family) -> None:
    apply()
    targets = [f"{address}:8080" for address in (ip.pod, ip.loopback, ip.further)]
    assert dial("pod", *targets, uid=1500) == [15003, 8080, 8080]


@both_families
def test_excluded_ports_and_ranges_bypass_the_sidecar(dial: Dial, ip: Family) -> None:
    apply(excluded_inbound_ports=[9999, *range(20000, 20020)], excluded_outbound_ports=[6379])
    assert dial("peer", f"{ip.pod}:9999", f"{ip.pod}:8080") == [9999, 15003]
    assert dial("pod", f"{ip.peer}:6379", f"{ip.peer}:80") == [6379, 15001]
    flush()
    apply(excluded_outbound_ranges=[ip.range], included_outbound_ranges=[ip.wider])
    assert dial("pod", f"{ip.peer}:80") == [80]


@both_families
def test_with_included_ranges_no_other_connection_is_redirected(dial: Dial, ip: Family) -> None:
    apply(included_outbound_ranges=[ip.elsewhere_range])
    assert dial("pod", f"{IPV4.peer}:80", f"{IPV6.peer}:80", f"{ip.elsewhere}:80") == [80, 80, 15001]
    assert dial("peer", f"{IPV4.pod}:8080", f"{IPV6.pod}:8080") == [15003, 15003]


def test_an_excluded_range_of_one_family_changes_nothing_for_the_other(dial: Dial) -> None:
    apply(excluded_outbound_ranges=["0.0.0.0/0"])
    assert dial("pod", f"{IPV4.peer}:80", f"{IPV6.peer}:80") == [80, 15001]
    flush()
    apply(excluded_outbound_ranges=["::/0"])
    assert dial("pod", f"{IPV4.peer}:80", f"{IPV6.peer}:80") == [15001, 80]


@both_families
def test_rules_can_be_applied_twice(dial: Dial, ip: Family) -> None:
    apply(excluded_inbound_ports=[9999])
    apply(excluded_inbound_ports=[9999])
    assert dial("peer", f"{ip.pod}:9999", f"{ip.pod}:8080") == [9999, 15003]
    assert dial("pod", f"{ip.peer}:80") == [15001]


def test_the_capabilities_of_the_init_container_are_sufficient(dial: Dial) -> None:
    init = patched(pod())["spec"]["initContainers"][0]
    granted = ",".join(f"+{capability.lower()}" for capability in init["securityContext"]["capabilities"]["add"])
    command = ["ip", "netns", "exec", POD, "setpriv", f"--bounding-set=-all,{granted}"]
    subprocess.run([*command, *init["command"], *init["args"]], check=True, timeout=20)
    assert dial("peer", f"{IPV4.pod}:8080", f"{IPV6.pod}:8080") == [15003, 15003]


def test_neighbour_discovery_works_with_the_rules(dial: Dial) -> None:
    apply()
    run(f"ip -n {POD} neighbour flush all")
    run(f"ip -n {PEER} neighbour flush all")
    assert dial("pod", f"{IPV6.peer}:80", uid=1500) == [80]


@pytest.fixture
def path_without_ip6tables(tmp_path: Path) -> str:
    """The path of an image without ip6tables. It stands for a kernel without it too: modules cannot be removed here."""
    restore = shutil.which("iptables-restore")
    assert restore
    (tmp_path / "iptables-restore").symlink_to(restore)
    return str(tmp_path)


def test_without_ip6tables_the_script_fails_if_the_pod_has_a_global_ipv6_address(
    dial: Dial, path_without_ip6tables: str
) -> None:
    done = run_script(redirect_rules().script, path=path_without_ip6tables)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("osm-init: cannot set IPv6 rules, but eth0 has a global IPv6 address (fd000203")
    assert "nft_chain_nat" in last
    assert dial("peer", f"{IPV4.pod}:8080") == [15003]


def test_without_ip6tables_the_script_succeeds_if_the_pod_has_no_global_ipv6_address(
    dial: Dial, path_without_ip6tables: str
) -> None:
    run(f"ip -n {POD} -6 address flush dev eth0 scope global")
    done = run_script(redirect_rules().script, path=path_without_ip6tables)
    assert done.returncode == 0
    assert done.stdout == (
        "osm-init: cannot set IPv6 rules; the pod needs none, because it has no global IPv6 address\n"
    )
    assert dial("peer", f"{IPV4.pod}:8080") == [15003]


def test_the_script_fails_if_the_ipv4_rules_cannot_be_set(tmp_path: Path) -> None:
    with ExitStack() as stack:
        run(f"ip netns add {POD}")
        stack.callback(run, f"ip netns delete {POD}")
        assert run_script(redirect_rules().script, path=str(tmp_path)).returncode == 127


def flush() -> None:
    for command in ("iptables", "ip6tables"):
        run(f"ip netns exec {POD} {command} -t nat -F")


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_the_user_of_the_proxy_can_be_changed(family: str) -> None:
    rules = getattr(redirect_rules(proxy_uid=1777), family)
    assert "--uid-owner 1777 -j RETURN" in rules
    assert "owner 1500" not in rules
