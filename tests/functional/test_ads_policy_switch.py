"""Two real Envoys, one for each xDS variant, and one ADS: a restriction takes effect, whatever others request."""

import asyncio
import socket
import urllib.error
import urllib.request
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import DirectResponseAction, Route, RouteMatch, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    HttpFilter,
    Rds,
)

from osm_probes.ads.limits import Limits
from osm_probes.mesh.identity import SIDECAR, Identity
from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET, Resource, Snapshot
from osm_probes.xds.bootstrap import AdsMode, AdsTarget, build_bootstrap
from osm_probes.xds.endpoints import socket_address
from osm_probes.xds.secrets import Secrets
from tests.ads.client import (
    AUTHORITY,
    DELTA,
    SERVER_NAME,
    TRUST_DOMAIN,
    certificate_of,
    new_proxy_certificate,
    open_stream,
    proxy_name,
    read_message,
)
from tests.ads.messages import DeltaResponse, delta_request
from tests.ads.running_ads import RunningAds, running_ads
from tests.functional.envoys import OVER_ADS, running_envoy

pytestmark = pytest.mark.envoy


def listener(port: int, *, routes: str) -> Resource:
    """A listener on this port, whose routes have this name."""
    router = HttpFilter(name="router")
    router.typed_config.Pack(Router())
    rds = Rds(config_source=OVER_ADS, route_config_name=routes)
    network = Filter(name="http")
    network.typed_config.Pack(HttpConnectionManager(stat_prefix="http", rds=rds, http_filters=[router]))
    message = Listener(
        name="inbound", address=socket_address("127.0.0.1", port), filter_chains=[FilterChain(filters=[network])]
    )
    return Resource.of("inbound", LISTENER, message.SerializeToString(deterministic=True))


def routes(name: str, *, status: int) -> Resource:
    """Routes that answer each request with this status."""
    route = Route(match=RouteMatch(prefix="/"), direct_response=DirectResponseAction(status=status))
    message = RouteConfiguration(name=name, virtual_hosts=[VirtualHost(name="all", domains=["*"], routes=[route])])
    return Resource.of(name, ROUTES, message.SerializeToString(deterministic=True))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def get(port: int) -> int:
    """The status of a GET request; 0 if there is no response."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/books", timeout=5) as response:
            status: int = response.status
            return status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


async def until(port: int, status: int) -> None:
    async with asyncio.timeout(20):
        while await asyncio.to_thread(get, port) != status:  # noqa: ASYNC110 - Envoy does not notify
            await asyncio.sleep(0.05)


class MeshProxy:
    """An Envoy with an identity of its own."""

    def __init__(self, running: RunningAds, mode: AdsMode) -> None:
        self.name = proxy_name(SIDECAR, Identity("bookstore", mode.name.lower().replace("_", "-")))
        self.port = free_port()
        self.running = running
        pem = certificate_of(self.name)
        self.bootstrap = build_bootstrap(
            self.name,
            trust_domain=TRUST_DOMAIN,
            ads=AdsTarget("127.0.0.1", running.server.port, SERVER_NAME, mode),
            secrets=Secrets(pem.chain_pem, pem.key_pem, AUTHORITY.root_pem),
        )

    def publish(self, listening: str, *route_configurations: Resource) -> None:
        """Publish a snapshot whose listener uses the routes of this name."""
        resources = [listener(self.port, routes=listening), *route_configurations]
        self.running.cache.publish(self.name.identity, Snapshot.of(resources))


async def ask_for_what_does_not_exist(running: RunningAds, type_url: str) -> None:
    """What any workload may do: subscribe to a resource that does not exist."""
    async with open_stream(running.server.port, new_proxy_certificate(), method=DELTA) as call:
        await call.write(delta_request(type_url, "nowhere"))
        response = DeltaResponse(await read_message(call))
        assert (response.type_url, response.removed) == (type_url, ["nowhere"])


@pytest.mark.parametrize("asked", [ENDPOINTS, SECRET])
async def test_a_restriction_takes_effect_for_both_variants_after_any_request_of_another_workload(
    envoy: Path, tmp_path: Path, asked: str
) -> None:
    async with running_ads(Snapshot.of([])) as running, AsyncExitStack() as stack:
        await ask_for_what_does_not_exist(running, asked)
        proxies = [MeshProxy(running, mode) for mode in AdsMode]
        for proxy in proxies:
            stack.enter_context(running.cache.subscribe(proxy.name.identity))
            proxy.publish("open", routes("open", status=200))
            folder = tmp_path / proxy.name.identity.service_account
            folder.mkdir()
            await stack.enter_async_context(running_envoy(envoy, proxy.bootstrap, folder=folder))
        for proxy in proxies:
            await until(proxy.port, 200)
            # A permissive switch: the listener refers to routes that follow only later.
            proxy.publish("closed", routes("open", status=200))
        await asyncio.sleep(1)
        for proxy in proxies:
            proxy.publish("closed", routes("closed", status=403))
        for proxy in proxies:
            await until(proxy.port, 403)
        assert all(not status.stuck and len(status.accepted) >= 2 for status in running.server.proxies)


@pytest.mark.parametrize("mode", list(AdsMode), ids=lambda mode: mode.name.lower())
async def test_clusters_that_wait_for_their_endpoints_are_not_stuck(envoy: Path, tmp_path: Path, mode: AdsMode) -> None:
    """Envoy withholds the answer to the clusters for 15 s in the state-of-the-world variant."""
    async with running_ads(Snapshot.of([]), limits=Limits(stream_check=1)) as running, AsyncExitStack() as stack:
        proxy = MeshProxy(running, mode)
        stack.enter_context(running.cache.subscribe(proxy.name.identity))
        proxy.publish("open", routes("open", status=200))
        await stack.enter_async_context(running_envoy(envoy, proxy.bootstrap, folder=tmp_path))
        await until(proxy.port, 200)
        cluster = Cluster(name="books", type=Cluster.EDS)
        cluster.eds_cluster_config.eds_config.CopyFrom(OVER_ADS)
        clusters = Resource.of("books", CLUSTER, cluster.SerializeToString(deterministic=True))
        resources = [listener(proxy.port, routes="open"), routes("open", status=200), clusters]
        running.cache.publish(proxy.name.identity, Snapshot.of(resources))
        expected = Snapshot.of(resources).sets[CLUSTER].version
        async with asyncio.timeout(40):
            while running.server.proxies[0].accepted.get(CLUSTER) != expected:
                await asyncio.sleep(0.1)
                assert not running.server.proxies[0].stuck
        assert len(running.server.proxies) == 1
