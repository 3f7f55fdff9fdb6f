import asyncio
import socket

import pytest

from osm_probes.ads.authenticator import Authenticator
from osm_probes.ads.errors import AddressInUseError, CredentialsError, ListenError
from osm_probes.ads.listen import ListenConfig
from osm_probes.ads.server import AdsServer
from osm_probes.health.lifecycle import Lifecycle
from osm_probes.pki.certificate import Certificate
from osm_probes.snapshot.cache import SnapshotCache
from tests.ads.client import AUTHORITY, SERVER_CERTIFICATE, TRUST_DOMAIN
from tests.ads.running_ads import refuse_strangers, running_ads


def server_at(port: int, certificate: Certificate = SERVER_CERTIFICATE, *, host: str = "127.0.0.1") -> AdsServer:
    listen_config = ListenConfig(port, certificate, AUTHORITY.root_pem, host)
    return AdsServer(
        Lifecycle("ads"),
        SnapshotCache(),
        authenticator=Authenticator(TRUST_DOMAIN, refuse_strangers),
        listen_config=listen_config,
    )


async def test_a_taken_port_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(AddressInUseError, match=f"port {port} of the ADS is taken"):
            async with server_at(port).serving():
                pass


async def test_two_servers_cannot_share_a_port() -> None:
    async with running_ads() as running:
        with pytest.raises(AddressInUseError):
            async with server_at(running.server.port).serving():
                pass


async def test_an_unusable_certificate_is_reported() -> None:
    broken = Certificate("x", b"no", b"no", SERVER_CERTIFICATE.not_before, SERVER_CERTIFICATE.not_after)
    with pytest.raises(CredentialsError):
        async with server_at(0, broken).serving():
            pass


async def test_an_address_of_another_machine_is_reported() -> None:
    with pytest.raises(ListenError, match="cannot listen on"):
        async with server_at(0, host="192.0.2.1").serving():
            pass


async def test_without_a_host_it_listens_on_ipv4_and_ipv6() -> None:
    async with server_at(0, host="").serving() as server:
        for host in ("127.0.0.1", "::1") if socket.has_dualstack_ipv6() else ("127.0.0.1",):
            _, writer = await asyncio.open_connection(host, server.port)
            writer.close()
            await writer.wait_closed()
