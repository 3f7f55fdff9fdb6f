"""Property tests of both xDS variants: after any sequence of events a model proxy has the resources that it should."""

from collections.abc import Callable, Set
from typing import TypeAlias

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from osm_probes.ads.delta import Incremental
from osm_probes.ads.session import XdsSession
from osm_probes.ads.sotw import StateOfTheWorld
from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET, Resource, Snapshot
from tests.ads.messages import (
    Assignment,
    DeltaResponse,
    SotwResponse,
    cluster,
    delta_request,
    endpoints,
    listener,
    routes,
    secret,
    snapshot_of,
    sotw_request,
)

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
WILDCARD_TYPES = {CLUSTER, LISTENER}


class Proxy(RuleBasedStateMachine):
    """A model of a proxy. A subclass uses one variant of the protocol."""

    def __init__(self) -> None:
        super().__init__()
        self.versions: dict[tuple[str, str], int] = {}
        self.session = self.connect()
        self.names: dict[str, set[str]] = {}
        self.held: dict[str, dict[str, bytes]] = {}
        self.pending: dict[str, str] = {}
        self.nonces: set[str] = set()
        self.rejected: set[str] = set()
        self.idle = False

    def connect(self) -> XdsSession:
        raise NotImplementedError

    @property
    def now(self) -> Snapshot:
        return snapshot_of(BUILDERS[type_url](name, version) for (type_url, name), version in self.versions.items())

    def subscribed(self, type_url: str) -> dict[str, bytes]:
        resources = self.now.sets[type_url].by_name
        names = resources.keys() if type_url in WILDCARD_TYPES else self.names[type_url]
        return {name: resources[name].body for name in names if name in resources}

    @rule(type_url=TYPES, name=st.sampled_from("abcd"), version=st.integers(0, 3))
    def a_resource_changes(self, type_url: str, name: str, version: int) -> None:
        self.idle = False
        self.versions.pop((type_url, name), None)
        if version:
            self.versions[type_url, name] = version

    def receive(self) -> bool:
        """Read one response. False if there is none."""
        response = self.session.next_response(self.now)
        self.idle = response is None
        if response is None:
            return False
        nonce = self.apply(response.body, response.type_url)
        assert response.type_url in self.names
        assert response.type_url not in self.pending
        assert nonce not in self.nonces
        self.nonces.add(nonce)
        self.pending[response.type_url] = nonce
        return True

    def apply(self, body: bytes, type_url: str) -> str:
        """Apply a response. Returns its nonce."""
        raise NotImplementedError

    def acknowledge(self, type_url: str, error: str | None) -> None:
        """Send an ACK, or a NACK if there is an error."""
        raise NotImplementedError

    @rule()
    def receives(self) -> None:
        self.receive()

    @rule(type_url=TYPES)
    def accepts(self, type_url: str) -> None:
        if type_url in self.pending:
            self.acknowledge(type_url, None)

    @rule(type_url=TYPES)
    def rejects_but_keeps_a_part(self, type_url: str) -> None:
        if type_url in self.pending:
            self.rejected.add(type_url)
            self.acknowledge(type_url, "no")

    def settle(self) -> None:
        """Receive and accept responses until there are none. Fails if they never end."""
        for _ in range(40):
            for type_url in list(self.pending):
                self.acknowledge(type_url, None)
            if not self.receive():
                return
        raise AssertionError("the session never stops sending responses")

    @rule()
    def ends_with_the_subscribed_resources(self) -> None:
        self.settle()
        # Old clusters stay as long as the listeners and routes without them are rejected.
        self.compare(self.names.keys() - self.rejected - (WILDCARD_TYPES if self.rejected else set()))
        # A rejected version is not sent again until there is a change, so make one.
        for type_url in self.rejected:
            for name in "abcd":
                self.versions[type_url, name] = self.versions.get((type_url, name), 0) + 1
        self.settle()
        self.rejected.clear()
        self.compare(self.names.keys())

    def compare(self, types: Set[str]) -> None:
        """The proxy has the subscribed resources in their newest version."""
        for type_url in types:
            held = {name: self.held[type_url].get(name) for name in self.subscribed(type_url)}
            assert held == self.subscribed(type_url)
            if type_url in WILDCARD_TYPES:
                assert self.held[type_url] == self.subscribed(type_url)

    @precondition(lambda self: self.idle)
    @invariant()
    def nothing_is_sent_without_a_change(self) -> None:
        assert self.session.next_response(self.now) is None


class SotwProxy(Proxy):
    def __init__(self) -> None:
        super().__init__()
        self.last: dict[str, tuple[str, str]] = {}
        self.accepted: dict[str, str] = {}

    def connect(self) -> XdsSession:
        return StateOfTheWorld()

    def apply(self, body: bytes, type_url: str) -> str:
        response = SotwResponse(body)
        if type_url in WILDCARD_TYPES:
            self.held[type_url] = {}
        self.held[type_url].update(response.bodies)
        self.last[type_url] = (response.nonce, response.version)
        return response.nonce

    def acknowledge(self, type_url: str, error: str | None) -> None:
        del self.pending[type_url]
        self.idle = False
        nonce, version = self.last[type_url]
        if error is None:
            self.accepted[type_url] = version
        self.session.handle_request(sotw_request(type_url, *self.names[type_url], nonce=nonce, error=error))

    @rule(type_url=TYPES, names=NAMES)
    def subscribes(self, type_url: str, names: set[str]) -> None:
        self.idle = False
        names = set() if type_url in WILDCARD_TYPES else names
        held = self.held.get(type_url, {})
        self.held[type_url] = {name: body for name, body in held.items() if type_url in WILDCARD_TYPES or name in names}
        self.names[type_url] = names
        nonce, _ = self.last.get(type_url, ("", ""))
        # A request with the last nonce acknowledges the pending response.
        self.pending.pop(type_url, None)
        self.session.handle_request(sotw_request(type_url, *names, nonce=nonce))

    @rule()
    def reconnects(self) -> None:
        self.session, self.last, self.pending, self.nonces = self.connect(), {}, {}, set()
        self.idle = False
        for type_url, names in self.names.items():
            version = self.accepted.get(type_url, "")
            self.session.handle_request(sotw_request(type_url, *names, version=version))


class DeltaProxy(Proxy):
    def __init__(self) -> None:
        super().__init__()
        self.held_versions: dict[str, dict[str, str]] = {}

    def connect(self) -> XdsSession:
        return Incremental()

    def apply(self, body: bytes, type_url: str) -> str:
        response = DeltaResponse(body)
        assert not set(response.names) & set(response.removed)
        self.held[type_url].update(response.bodies)
        self.held_versions[type_url].update(response.versions)
        for name in response.removed:
            self.held[type_url].pop(name, None)
            self.held_versions[type_url].pop(name, None)
        return response.nonce

    def acknowledge(self, type_url: str, error: str | None) -> None:
        self.idle = False
        self.session.handle_request(delta_request(type_url, nonce=self.pending.pop(type_url), error=error))

    @rule(type_url=TYPES, names=NAMES)
    def subscribes(self, type_url: str, names: set[str]) -> None:
        self.idle = False
        names = set() if type_url in WILDCARD_TYPES else names
        old = self.names.get(type_url, set())
        self.names[type_url] = names
        bodies, versions = self.held.setdefault(type_url, {}), self.held_versions.setdefault(type_url, {})
        for name in old - names:
            bodies.pop(name, None)
            versions.pop(name, None)
        self.session.handle_request(delta_request(type_url, *(names - old), unsubscribe=sorted(old - names)))

    @rule()
    def reconnects(self) -> None:
        self.session, self.pending, self.nonces = self.connect(), {}, set()
        self.idle = False
        for type_url, names in self.names.items():
            versions = self.held_versions[type_url]
            self.session.handle_request(delta_request(type_url, *names, initial_versions=versions))


TestStateOfTheWorld = SotwProxy.TestCase
TestStateOfTheWorld.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestIncremental = DeltaProxy.TestCase
TestIncremental.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
