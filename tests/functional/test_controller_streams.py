"""osm-controller as a child process, with clients that connect as proxies do."""

import asyncio
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path

import grpc
import grpc.aio

from osm_probes.mesh.identity import SIDECAR, Identity, ProxyName
from osm_probes.pki.ca_folder import load_authority
from osm_probes.snapshot.snapshot import CLUSTER, SECRET
from tests.ads.client import STREAM, Call, final_status, open_channel, read_message
from tests.ads.messages import SotwResponse, sotw_request
from tests.functional.programs import Program, running
from tests.standin import until

_BOOKSTORE = ProxyName("7c2d5a64-0b1e-4f3a-9d72-2f8e4c6a9b12", SIDECAR, Identity("bookstore", "bookstore"))
_BOOKBUYER = ProxyName("1e9f1f0b-3a0c-4c0d-8a51-6c1b5b7f2a11", SIDECAR, Identity("bookbuyer", "bookbuyer"))
_UNKNOWN = ProxyName("00000000-0000-4000-8000-000000000000", SIDECAR, Identity("bookstore", "bookstore"))


class Dialler:
    """Connects to an osm-controller as a sidecar, with a certificate from the controller's own CA."""

    def __init__(self, program: Program, folder: Path) -> None:
        self._port = program.served_port
        self._authority = load_authority(folder / "ca")

    def as_(self, name: ProxyName) -> AbstractAsyncContextManager[grpc.aio.Channel]:
        """A gRPC channel with a certificate for this proxy name."""
        certificate = self._authority.issue(name.common_name("cluster.local"), validity=timedelta(hours=1))
        return open_channel(self._port, certificate, root_pem=self._authority.root_pem)


def _open(channel: grpc.aio.Channel) -> Call:
    """Open a stream without a request: the ADS refuses a stream at once, and a write would race with the refusal."""
    call: Call = channel.stream_stream(STREAM)()
    return call


async def _open_with_request(channel: grpc.aio.Channel, message: bytes) -> Call:
    call = _open(channel)
    await call.write(message)
    return call


async def test_at_capacity_it_refuses_proxies_with_a_reason_and_is_not_ready_until_one_leaves(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path, "--max-data-plane-connections=1") as program:
        program.until_ready()
        dialler = Dialler(program, tmp_path)
        async with dialler.as_(_BOOKSTORE) as one, dialler.as_(_BOOKBUYER) as another:
            call = await _open_with_request(one, sotw_request(CLUSTER))
            await read_message(call)
            code, words = await final_status(_open(another))
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert words == "1 proxies are connected, the most that this control plane serves"
            full = "Readiness probe for capacity indicates it is not ready"
            await asyncio.to_thread(until, lambda: program.get("/health/ready") == full, within=2)
            assert program.get("/health/alive") == "Service is alive"
            call.cancel()
            await asyncio.to_thread(program.until_ready)


async def test_a_proxy_whose_pod_is_not_in_the_mesh_is_refused(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path) as program:
        program.until_ready()
        async with Dialler(program, tmp_path).as_(_UNKNOWN) as channel:
            code, words = await final_status(_open(channel))
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert "no pod of the mesh has the proxy 00000000" in words


async def test_a_malformed_request_ends_only_its_own_stream(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path) as program:
        program.until_ready()
        dialler = Dialler(program, tmp_path)
        async with dialler.as_(_BOOKSTORE) as one, dialler.as_(_BOOKBUYER) as another:
            good = await _open_with_request(one, sotw_request(CLUSTER))
            await read_message(good)
            code, _ = await final_status(await _open_with_request(another, b"\xff\xff\xff"))
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert not good.done()
            good.cancel()


async def test_the_capacity_check_follows_a_changed_limit_without_a_restart(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path) as program:
        program.until_ready()
        config = tmp_path / "mesh" / "mesh.yaml"
        without = config.read_text()
        async with Dialler(program, tmp_path).as_(_BOOKSTORE) as channel:
            call = await _open_with_request(channel, sotw_request(CLUSTER))
            await read_message(call)
            config.write_text(without.replace("maxDataPlaneConnections: 0", "maxDataPlaneConnections: 1"))
            full = "Readiness probe for capacity indicates it is not ready"
            await asyncio.to_thread(until, lambda: program.get("/health/ready") == full, within=5)
            call.cancel()
        await asyncio.to_thread(program.until_ready)


async def test_a_private_key_is_never_logged(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path, "--verbosity=trace") as program:
        program.until_ready()
        async with Dialler(program, tmp_path).as_(_BOOKSTORE) as channel:
            name = "service-cert:bookstore/bookstore"
            call = await _open_with_request(channel, sotw_request(SECRET, name))
            first = await read_message(call)
            assert b"PRIVATE KEY" in first
            await call.write(sotw_request(SECRET, name, nonce=SotwResponse(first).nonce))
            config = tmp_path / "mesh" / "mesh.yaml"
            renewed = config.read_text().replace("serviceCertValidityDuration: 24h", "serviceCertValidityDuration: 10m")
            config.write_text(renewed)
            assert b"PRIVATE KEY" in await read_message(call), "it was renewed"
            call.cancel()
        program.stop()
        log = program.log.read_text()
    assert "PRIVATE" not in log
    assert "BEGIN" not in log


async def test_a_drain_ends_streams_with_status_ok(tmp_path: Path) -> None:
    with running("osm-controller", tmp_path) as program:
        program.until_ready()
        async with Dialler(program, tmp_path).as_(_BOOKSTORE) as channel:
            call = await _open_with_request(channel, sotw_request(CLUSTER))
            await read_message(call)
            program.process.terminate()
            code, _ = await final_status(call)
            assert code is grpc.StatusCode.OK
        assert await asyncio.to_thread(program.process.wait, 10) == 0
