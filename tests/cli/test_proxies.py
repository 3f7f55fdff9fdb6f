"""`osm proxy list` and `osm proxy get` of real proxies."""

import asyncio
import contextlib
import json
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from osm_probes.mesh.identity import SIDECAR, Identity, ProxyName
from osm_probes.snapshot.snapshot import CLUSTER, LISTENER
from tests.ads.dial import STREAM, Call, dialled, read
from tests.ads.messages import Sotw, asks
from tests.cli.command import Said, osm
from tests.cli.live import Live
from tests.functional.programs import curl
from tests.functional.test_rewritten_probes import free_port
from tests.standin import until

pytestmark = pytest.mark.kubernetes
PROXY = ProxyName("7c2d5a64-0b1e-4f3a-9d72-2f8e4c6a9b12", SIDECAR, Identity("bookstore", "bookstore"))


async def test_connected_proxies_are_listed_with_what_they_took_and_what_they_refused(live: Live) -> None:
    assert await asyncio.to_thread(osm, "proxy", "list", cluster=live.cluster) == Said(
        0, "No proxies are connected\n", ""
    )
    ca = live.authority()
    certificate = ca.issue(PROXY.common_name("cluster.local"), validity=timedelta(hours=1))
    port = live.programs["osm-controller-0"].served_port
    async with dialled(port, certificate, root_pem=ca.root_pem) as channel, asyncio.timeout(30):
        call: Call = channel.stream_stream(STREAM)()
        await call.write(asks(CLUSTER))
        clusters = Sotw(await read(call))
        await call.write(asks(CLUSTER, nonce=clusters.nonce, version=clusters.version))
        await call.write(asks(LISTENER))
        listeners = Sotw(await read(call))
        await call.write(asks(LISTENER, nonce=listeners.nonce, error="no such filter"))
        said = Said(0, "", "")
        while "no such filter" not in said.out:
            said = await asyncio.to_thread(osm, "proxy", "list", cluster=live.cluster)
        lines = said.out.splitlines()
        assert [line.split() for line in lines] == [
            ["POD", "SERVICE", "ACCOUNT", "CONTROLLER", "CONNECTED", "CDS", "EDS", "LDS", "RDS", "SDS", "LAST", "NACK"],
            [
                *("bookstore/bookstore-0", "bookstore", "osm-controller-0", lines[1].split()[3]),
                *(clusters.version[:8], "-", "-", "-", "-"),
                *("LDS", f"{listeners.version[:8]}:", "no", "such", "filter"),
            ],
        ]
        (told,) = json.loads((await asyncio.to_thread(osm, "proxy", "list", "-o", "json", cluster=live.cluster)).out)
        assert told["proxy"]["accepted"] == {"CDS": clusters.version}
        assert told["proxy"]["uuid"] == PROXY.uuid
        call.cancel()


def test_a_controller_that_does_not_answer_is_an_error(live: Live) -> None:
    said = osm("proxy", "list", "--osm-namespace", "default", cluster=live.cluster)
    assert said == Said(1, "", "Error: no pods of osm-controller to ask: see osm mesh list\n")
    program = live.programs["osm-controller-0"]
    program.process.send_signal(19)  # SIGSTOP
    try:
        said = osm("proxy", "list", cluster=live.cluster)
    finally:
        program.process.send_signal(18)
    text = "Error: osm-controller-0 does not tell its proxies: the program does not answer\n"
    assert said == Said(1, "", text)


@contextlib.contextmanager
def admin_port(envoy: Path, folder: Path) -> Iterator[int]:
    """A real Envoy's."""
    port = free_port()
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    clusters = [{"name": "shop", "type": "STATIC", "load_assignment": {"cluster_name": "shop"}}]
    config = {"admin": {"address": address}, "static_resources": {"clusters": clusters}}
    file = folder / "envoy.json"
    file.write_text(json.dumps(config))
    command = [str(envoy), "-c", str(file), "--use-dynamic-base-id", "--concurrency", "1", "-l", "error"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        until(lambda: curl(f"http://127.0.0.1:{port}/ready") == "LIVE\n", within=20)
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.mark.envoy
def test_a_proxy_tells_what_it_has_through_its_pods_loopback(live: Live, envoy: Path, tmp_path: Path) -> None:
    with admin_port(envoy, tmp_path) as port:
        live.kubelet.ports["bookstore-0", 15000] = port
        said = osm("proxy", "get", "clusters", "bookstore/bookstore-0", cluster=live.cluster)
        assert (said.status, said.err) == (0, "")
        assert "shop::default_priority::max_connections::1024\n" in said.out
        dump = osm("proxy", "get", "config_dump", "bookstore-0", "-n", "bookstore", cluster=live.cluster)
        assert json.loads(dump.out)["configs"][0]["bootstrap"]["static_resources"]["clusters"][0]["name"] == "shop"
        assert json.loads(osm("proxy", "get", "certs", "bookstore/bookstore-0", cluster=live.cluster).out) == {
            "certificates": []
        }
    refused = osm("proxy", "get", "certs", "bookstore/bookstore-0", cluster=live.cluster)
    assert refused == Said(
        1,
        "",
        "Error: proxy of pod bookstore/bookstore-0: port 15000 of pod bookstore/bookstore-0: "
        "dial tcp4 127.0.0.1:15000: connect: connection refused\n",
    )


def test_a_pod_that_is_not_there_is_an_error(live: Live) -> None:
    said = osm("proxy", "get", "certs", "bookstore/nobody", cluster=live.cluster)
    assert said == Said(1, "", 'Error: proxy of pod bookstore/nobody: pods "nobody" not found\n')
