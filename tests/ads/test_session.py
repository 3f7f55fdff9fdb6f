"""Property test of both xDS variants: many streams over one cache; each proxy ends with what it should have.

The streams share what the cache and its resource sets keep. So a fault of one stream could reach all others.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeAlias

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from osm_probes.snapshot.cache import SnapshotCache
from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET, Resource, Snapshot
from tests.ads.messages import Assignment, cluster, endpoints, listener, routes, secret, snapshot_of
from tests.ads.model_proxy import WILDCARD_TYPES, DeltaProxy, ModelProxy, SotwProxy

Build: TypeAlias = Callable[[str, int], Resource | Assignment]
BUILDERS: dict[str, Build] = {
    CLUSTER: cluster,
    ENDPOINTS: endpoints,
    LISTENER: listener,
    ROUTES: routes,
    SECRET: secret,
}
NAMES = st.sets(st.sampled_from("abcd"))
TYPES = st.sampled_from(list(BUILDERS))
IDENTITIES = ("bookbuyer", "bookstore")
# The first half has the first identity. Each identity has two streams of each variant.
PROXIES = (SotwProxy, DeltaProxy, SotwProxy, DeltaProxy) * 2
PROXY = st.integers(0, len(PROXIES) - 1)


class Streams(RuleBasedStateMachine):
    """The streams of several proxies, whose events are interleaved."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = SnapshotCache()
        self.stack = ExitStack()
        self.snapshots = [self.stack.enter_context(self.cache.subscribe(identity)) for identity in IDENTITIES]
        self.versions: dict[tuple[str, str, str], int] = {}
        self.proxies: list[ModelProxy] = [proxy() for proxy in PROXIES]
        self.publish()

    def teardown(self) -> None:
        self.stack.close()

    def publish(self) -> None:
        for identity in IDENTITIES:
            parts = (
                BUILDERS[type_url](name, version)
                for (owner, type_url, name), version in self.versions.items()
                if owner == identity
            )
            self.cache.publish(identity, snapshot_of(parts))
        for proxy in self.proxies:
            proxy.idle = False

    def snapshot(self, number: int) -> Snapshot:
        """The newest snapshot of the identity of this proxy."""
        snapshot = self.snapshots[number * len(IDENTITIES) // len(PROXIES)].value
        assert snapshot is not None
        return snapshot

    @rule(identity=st.sampled_from(IDENTITIES), type_url=TYPES, name=st.sampled_from("abcd"), version=st.integers(0, 3))
    def a_resource_changes(self, identity: str, type_url: str, name: str, version: int) -> None:
        self.versions.pop((identity, type_url, name), None)
        if version:
            self.versions[identity, type_url, name] = version
        self.publish()

    @rule(number=PROXY, type_url=TYPES, names=NAMES)
    def a_proxy_subscribes(self, number: int, type_url: str, names: set[str]) -> None:
        self.proxies[number].subscribe(type_url, names)

    @rule(number=PROXY)
    def a_proxy_receives(self, number: int) -> None:
        self.proxies[number].receive(self.snapshot(number))

    @rule(number=PROXY, type_url=TYPES)
    def a_proxy_accepts(self, number: int, type_url: str) -> None:
        self.proxies[number].accept(type_url)

    @rule(number=PROXY, type_url=TYPES)
    def a_proxy_rejects_but_keeps_a_part(self, number: int, type_url: str) -> None:
        self.proxies[number].reject(type_url)

    @rule(number=PROXY)
    def a_proxy_reconnects(self, number: int) -> None:
        self.proxies[number].reconnect()

    @rule()
    def all_proxies_end_with_what_they_subscribed_to(self) -> None:
        for number, proxy in enumerate(self.proxies):
            proxy.settle(self.snapshot(number))
            # Old clusters stay as long as the listeners and routes without them are rejected.
            unclear = proxy.rejected | (WILDCARD_TYPES if proxy.rejected else set())
            proxy.check(self.snapshot(number), proxy.names.keys() - unclear)
        self.change_what_was_rejected()
        for number, proxy in enumerate(self.proxies):
            proxy.settle(self.snapshot(number))
            proxy.rejected.clear()
            proxy.check(self.snapshot(number), proxy.names)

    def change_what_was_rejected(self) -> None:
        """A rejected version is not sent again until there is a change, so make one."""
        for number, proxy in enumerate(self.proxies):
            identity = IDENTITIES[number * len(IDENTITIES) // len(PROXIES)]
            for key in ((identity, type_url, name) for type_url in proxy.rejected for name in "abcd"):
                self.versions[key] = self.versions.get(key, 0) + 1
        self.publish()

    @invariant()
    def nothing_is_sent_without_a_change(self) -> None:
        for number, proxy in enumerate(self.proxies):
            assert not (proxy.idle and proxy.has_more(self.snapshot(number)))


TestStreams = Streams.TestCase
TestStreams.settings = settings(max_examples=120, stateful_step_count=50, deadline=None)
