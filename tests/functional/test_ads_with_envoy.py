"""The ADS with a real Envoy over loopback: the xDS protocol as Envoy implements it."""

import asyncio
import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
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
from osm_probes.mesh.mesh import Endpoint
from osm_probes.snapshot.snapshot import CLUSTER, LISTENER, ROUTES, Resource, Snapshot
from osm_probes.xds.bootstrap import AdsMode, AdsTarget, build_bootstrap
from osm_probes.xds.endpoints import load_assignment_resource, socket_address
from osm_probes.xds.secrets import Secrets
from tests.ads.client import AUTHORITY, BOOKSTORE, BOOKSTORE_CERTIFICATE, BOOKSTORE_PROXY, SERVER_NAME, TRUST_DOMAIN
from tests.ads.running_ads import RunningAds, running_ads
from tests.functional.envoys import OVER_ADS, Admin, running_envoy

pytestmark = pytest.mark.envoy
MODES = pytest.mark.parametrize("mode", list(AdsMode), ids=lambda mode: mode.name.lower())


def environment(*, endpoints: int = 1, timeout: int = 1, route: str = "/", listener: str = "http") -> Snapshot:
    """A snapshot with one service: cluster, endpoints, listener and routes. Envoy rejects the listener "bad"."""
    cluster = Cluster(name="books", type=Cluster.EDS)
    cluster.eds_cluster_config.eds_config.CopyFrom(OVER_ADS)
    cluster.connect_timeout.seconds = timeout
    clusters = Resource.of("books", CLUSTER, cluster.SerializeToString(deterministic=True))
    hosts = tuple(Endpoint("127.0.0.1", 20000 + number) for number in range(endpoints))
    match = Route(match=RouteMatch(prefix=route), route=RouteAction(cluster="books"))
    routes = RouteConfiguration(name="routes", virtual_hosts=[VirtualHost(name="all", domains=["*"], routes=[match])])
    router = HttpFilter(name="router")
    router.typed_config.Pack(Router())
    manager = HttpConnectionManager(
        stat_prefix=listener, rds=Rds(config_source=OVER_ADS, route_config_name="routes"), http_filters=[router]
    )
    network = Filter(name="http")
    network.typed_config.Pack(manager)
    outbound = Listener(
        name="out", address=socket_address("127.0.0.1", 0), filter_chains=[FilterChain(filters=[network])]
    )
    if listener == "bad":
        del outbound.filter_chains[:]
    return Snapshot.of(
        [
            clusters,
            load_assignment_resource("books", endpoints=hosts, cluster_version=clusters.version),
            Resource.of("out", LISTENER, outbound.SerializeToString(deterministic=True)),
            Resource.of("routes", ROUTES, routes.SerializeToString(deterministic=True)),
        ]
    )


def bookstore_bootstrap(port: int, mode: AdsMode) -> bytes:
    """The bookstore's bootstrap, which points to the ADS at this port."""
    pem = BOOKSTORE_CERTIFICATE
    return build_bootstrap(
        BOOKSTORE_PROXY,
        trust_domain=TRUST_DOMAIN,
        ads=AdsTarget("127.0.0.1", port, SERVER_NAME, mode),
        secrets=Secrets(pem.chain_pem, pem.key_pem, AUTHORITY.root_pem),
    )


def has_endpoints(number: int) -> Callable[[str], bool]:
    return lambda text: len(set(re.findall(r"^books::127\.0\.0\.1:(\d+)::", text, re.MULTILINE))) == number


async def in_sync(running: RunningAds, admin: Admin, *, endpoints: int = 1) -> None:
    """Wait until Envoy has accepted all resource types."""
    await admin.until("/clusters", has_endpoints(endpoints), within=20)
    await admin.until("/ready", lambda text: text.startswith("LIVE"), within=20)
    await running.observer.until(Event.SENT, times=4)
    async with asyncio.timeout(10):
        while len(running.server.proxies[0].accepted) < 4:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


@MODES
async def test_envoy_accepts_all_resources_and_a_new_endpoint_takes_one_response(
    envoy: Path, tmp_path: Path, mode: AdsMode
) -> None:
    async with (
        running_ads(environment()) as running,
        running_envoy(envoy, bookstore_bootstrap(running.server.port, mode), folder=tmp_path) as admin,
    ):
        await in_sync(running, admin)
        sent = running.observer.events.count(Event.SENT)
        assert sent == 4
        running.cache.publish(BOOKSTORE, environment(endpoints=2))
        await admin.until("/clusters", has_endpoints(2), within=1)
        await running.observer.until(Event.SENT, times=sent + 1)
        await asyncio.sleep(0.2)
        assert running.observer.events.count(Event.SENT) == sent + 1


@MODES
async def test_a_restarted_ads_sends_only_changes(envoy: Path, tmp_path: Path, mode: AdsMode) -> None:
    async with AsyncExitStack() as before, AsyncExitStack() as after:
        first = await before.enter_async_context(running_ads(environment()))
        port = first.server.port
        admin = await after.enter_async_context(running_envoy(envoy, bookstore_bootstrap(port, mode), folder=tmp_path))
        await in_sync(first, admin)
        await before.aclose()
        async with running_ads(environment(), port=port) as second:
            await second.observer.until(Event.REQUESTED, times=4)
            await asyncio.sleep(0.5)
            assert second.observer.events.count(Event.SENT) == 0
            second.cache.publish(BOOKSTORE, environment(endpoints=2))
            await admin.until("/clusters", has_endpoints(2), within=1)
            await second.observer.until(Event.SENT, times=1)
            await asyncio.sleep(0.2)
            assert second.observer.events.count(Event.SENT) == 1


@MODES
async def test_a_changed_cluster_with_unchanged_endpoints_leaves_the_warming_state(
    envoy: Path, tmp_path: Path, mode: AdsMode
) -> None:
    async with (
        running_ads(environment()) as running,
        running_envoy(envoy, bookstore_bootstrap(running.server.port, mode), folder=tmp_path) as admin,
    ):
        await in_sync(running, admin)
        running.cache.publish(BOOKSTORE, environment(timeout=7))

        def active(text: str) -> bool:
            return '"connect_timeout": "7s"' in text and "dynamic_warming_clusters" not in text

        await admin.until("/config_dump", active, within=3)


@MODES
async def test_a_resource_that_envoy_rejects_is_sent_once_and_envoy_keeps_the_last_accepted_version(
    envoy: Path, tmp_path: Path, mode: AdsMode
) -> None:
    async with (
        running_ads(environment()) as running,
        running_envoy(envoy, bookstore_bootstrap(running.server.port, mode), folder=tmp_path) as admin,
    ):
        await in_sync(running, admin)
        running.cache.publish(BOOKSTORE, environment(listener="bad"))
        await running.observer.until(Event.REJECTED, times=1)
        (proxy,) = running.server.proxies
        assert proxy.rejection is not None
        assert "filter" in proxy.rejection.detail
        # A response counts as sent when its write is complete; the proxy's NACK may arrive before that.
        await running.observer.until(Event.SENT, times=5)
        running.cache.publish(BOOKSTORE, environment(listener="bad", endpoints=2))
        await admin.until("/clusters", has_endpoints(2), within=1)
        await running.observer.until(Event.SENT, times=6)
        await asyncio.sleep(0.2)
        assert running.observer.events.count(Event.SENT) == 6
        assert running.observer.events.count(Event.REJECTED) == 1
        assert await admin.stat("listener_manager.total_listeners_active") == 1
