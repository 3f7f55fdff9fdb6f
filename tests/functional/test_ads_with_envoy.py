"""The ADS and a real Envoy over loopback: the rules of the protocol as Envoy understands them."""

import asyncio
import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint as EnvoyEndpoint
from envoy.config.endpoint.v3.endpoint_components_pb2 import LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import Route, RouteAction, RouteMatch, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    HttpFilter,
    Rds,
)

from osm_probes.ads.events import Event
from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Resource, Snapshot
from osm_probes.xds.bootstrap import AdsMode, AdsTarget, bootstrap
from osm_probes.xds.endpoints import socket_address
from osm_probes.xds.secrets import Secrets
from tests.ads.dial import (
    AUTHORITY,
    BOOKSTORE,
    BOOKSTORE_CERTIFICATE,
    BOOKSTORE_PROXY,
    SERVER_NAME,
    TRUST_DOMAIN,
    Ads,
    ads,
)
from tests.functional.envoys import Admin, running_envoy

pytestmark = pytest.mark.envoy
MODES = pytest.mark.parametrize("mode", list(AdsMode), ids=lambda mode: mode.name.lower())
OVER_ADS = ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)


def environment(*, endpoints: int = 1, timeout: int = 1, route: str = "/", listener: str = "http") -> Snapshot:
    """One service: cluster, endpoints, listener and routes."""
    cluster = Cluster(name="books", type=Cluster.EDS)
    cluster.eds_cluster_config.eds_config.CopyFrom(OVER_ADS)
    cluster.connect_timeout.seconds = timeout
    there = [
        LbEndpoint(endpoint=EnvoyEndpoint(address=socket_address("127.0.0.1", 20000 + number)))
        for number in range(endpoints)
    ]
    assignment = ClusterLoadAssignment(cluster_name="books", endpoints=[LocalityLbEndpoints(lb_endpoints=there)])
    match = Route(match=RouteMatch(prefix=route), route=RouteAction(cluster="books"))
    routes = RouteConfiguration(name="routes", virtual_hosts=[VirtualHost(name="all", domains=["*"], routes=[match])])
    router = HttpFilter(name="router")
    router.typed_config.Pack(Router())
    manager = HttpConnectionManager(
        stat_prefix=listener, rds=Rds(config_source=OVER_ADS, route_config_name="routes"), http_filters=[router]
    )
    network = Filter(name="http")
    network.typed_config.Pack(manager)
    listens = Listener(
        name="out", address=socket_address("127.0.0.1", 0), filter_chains=[FilterChain(filters=[network])]
    )
    if listener == "bad":
        del listens.filter_chains[:]
    return Snapshot.of(
        [
            Resource.of("books", CLUSTER, cluster.SerializeToString(deterministic=True)),
            Resource.of("books", ENDPOINTS, assignment.SerializeToString(deterministic=True)),
            Resource.of("out", LISTENER, listens.SerializeToString(deterministic=True)),
            Resource.of("routes", ROUTES, routes.SerializeToString(deterministic=True)),
        ]
    )


def made(port: int, mode: AdsMode) -> bytes:
    """The bookstore's bootstrap."""
    pem = BOOKSTORE_CERTIFICATE
    return bootstrap(
        BOOKSTORE_PROXY,
        trust_domain=TRUST_DOMAIN,
        ads=AdsTarget("127.0.0.1", port, SERVER_NAME, mode),
        secrets=Secrets(pem.chain_pem, pem.key_pem, AUTHORITY.root_pem),
    )


def has_endpoints(number: int) -> Callable[[str], bool]:
    return lambda text: len(set(re.findall(r"^books::127\.0\.0\.1:(\d+)::", text, re.MULTILINE))) == number


async def in_sync(running: Ads, admin: Admin, *, endpoints: int = 1) -> None:
    """Envoy has all and has said so."""
    await admin.until("/clusters", has_endpoints(endpoints), within=20)
    await admin.until("/ready", lambda text: text.startswith("LIVE"), within=20)
    await running.counts.until(Event.SENT, times=4)
    async with asyncio.timeout(10):
        while len(running.server.proxies[0].accepted) < 4:  # noqa: ASYNC110 - facts have no event
            await asyncio.sleep(0.01)


@MODES
async def test_envoy_takes_all_and_one_endpoint_is_one_response(envoy: Path, tmp_path: Path, mode: AdsMode) -> None:
    async with (
        ads(now=environment()) as running,
        running_envoy(envoy, made(running.server.port, mode), folder=tmp_path) as admin,
    ):
        await in_sync(running, admin)
        sent = running.counts.events.count(Event.SENT)
        assert sent == 4
        running.cache.publish(BOOKSTORE, environment(endpoints=2))
        await admin.until("/clusters", has_endpoints(2), within=1)
        await running.counts.until(Event.SENT, times=sent + 1)
        await asyncio.sleep(0.2)
        assert running.counts.events.count(Event.SENT) == sent + 1


@MODES
async def test_after_a_restart_nothing_is_sent_again_and_changes_still_are(
    envoy: Path, tmp_path: Path, mode: AdsMode
) -> None:
    async with AsyncExitStack() as before, AsyncExitStack() as whole:
        first = await before.enter_async_context(ads(now=environment()))
        port = first.server.port
        admin = await whole.enter_async_context(running_envoy(envoy, made(port, mode), folder=tmp_path))
        await in_sync(first, admin)
        await before.aclose()
        async with ads(now=environment(), port=port) as second:
            await second.counts.until(Event.REQUESTED, times=4)
            await asyncio.sleep(0.5)
            assert second.counts.events.count(Event.SENT) == 0
            second.cache.publish(BOOKSTORE, environment(endpoints=2))
            await admin.until("/clusters", has_endpoints(2), within=1)
            await second.counts.until(Event.SENT, times=1)
            await asyncio.sleep(0.2)
            assert second.counts.events.count(Event.SENT) == 1


@MODES
async def test_a_changed_cluster_with_the_same_endpoints_does_not_warm_for_long(
    envoy: Path, tmp_path: Path, mode: AdsMode
) -> None:
    async with (
        ads(now=environment()) as running,
        running_envoy(envoy, made(running.server.port, mode), folder=tmp_path) as admin,
    ):
        await in_sync(running, admin)
        running.cache.publish(BOOKSTORE, environment(timeout=7))

        def active(text: str) -> bool:
            return '"connect_timeout": "7s"' in text and "dynamic_warming_clusters" not in text

        await admin.until("/config_dump", active, within=3)


@MODES
async def test_what_envoy_rejects_is_told_once_and_the_last_good_one_stays(
    envoy: Path, tmp_path: Path, mode: AdsMode
) -> None:
    async with (
        ads(now=environment()) as running,
        running_envoy(envoy, made(running.server.port, mode), folder=tmp_path) as admin,
    ):
        await in_sync(running, admin)
        running.cache.publish(BOOKSTORE, environment(listener="bad"))
        await running.counts.until(Event.REJECTED, times=1)
        (proxy,) = running.server.proxies
        assert proxy.rejection is not None
        assert "filter" in proxy.rejection.detail
        # A response counts as sent once its write is over, which the proxy's answer may precede.
        await running.counts.until(Event.SENT, times=5)
        running.cache.publish(BOOKSTORE, environment(listener="bad", endpoints=2))
        await admin.until("/clusters", has_endpoints(2), within=1)
        await running.counts.until(Event.SENT, times=6)
        await asyncio.sleep(0.2)
        assert running.counts.events.count(Event.SENT) == 6
        assert running.counts.events.count(Event.REJECTED) == 1
        assert await admin.stat("listener_manager.total_listeners_active") == 1
