"""Both forms of the conversation against a model of a proxy: whatever happens, it ends with what it should have."""

from collections.abc import Callable, Set
from typing import TypeAlias

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from osm_probes.ads.delta import Incremental
from osm_probes.ads.session import XdsSession
from osm_probes.ads.sotw import StateOfTheWorld
from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET, Resource, Snapshot
from tests.ads.messages import Delta, Sotw, asks, changes, cluster, endpoints, listener, routes, secret

Make: TypeAlias = Callable[[str, int], Resource]
MAKERS: dict[str, Make] = {
    CLUSTER: cluster,
    ENDPOINTS: endpoints,
    LISTENER: listener,
    ROUTES: routes,
    SECRET: secret,
}
NAMES = st.sets(st.sampled_from("abcd"))
TYPES = st.sampled_from(list(MAKERS))
WILD = {CLUSTER, LISTENER}


class Proxy(RuleBasedStateMachine):
    """What any proxy does; a subclass speaks one form."""

    def __init__(self) -> None:
        super().__init__()
        self.versions: dict[tuple[str, str], int] = {}
        self.session = self.connect()
        self.names: dict[str, set[str]] = {}
        self.held: dict[str, dict[str, bytes]] = {}
        self.unanswered: dict[str, str] = {}
        self.nonces: set[str] = set()
        self.rejected: set[str] = set()
        self.quiet = False

    def connect(self) -> XdsSession:
        raise NotImplementedError

    @property
    def now(self) -> Snapshot:
        return Snapshot.of(MAKERS[type_url](name, version) for (type_url, name), version in self.versions.items())

    def wanted(self, type_url: str) -> dict[str, bytes]:
        every = self.now.sets[type_url].by_name
        names = every.keys() if type_url in WILD else self.names[type_url]
        return {name: every[name].body for name in names if name in every}

    @rule(type_url=TYPES, name=st.sampled_from("abcd"), version=st.integers(0, 3))
    def world_changes(self, type_url: str, name: str, version: int) -> None:
        self.quiet = False
        self.versions.pop((type_url, name), None)
        if version:
            self.versions[type_url, name] = version

    def take(self) -> bool:
        """Read one response, if there is one."""
        response = self.session.answer(self.now)
        self.quiet = response is None
        if response is None:
            return False
        nonce = self.read(response.body, response.type_url)
        assert response.type_url in self.names
        assert response.type_url not in self.unanswered
        assert nonce not in self.nonces
        self.nonces.add(nonce)
        self.unanswered[response.type_url] = nonce
        return True

    def read(self, body: bytes, type_url: str) -> str:
        raise NotImplementedError

    def answer(self, type_url: str, error: str | None) -> None:
        raise NotImplementedError

    @rule()
    def reads(self) -> None:
        self.take()

    @rule(type_url=TYPES)
    def accepts(self, type_url: str) -> None:
        if type_url in self.unanswered:
            self.answer(type_url, None)

    @rule(type_url=TYPES)
    def rejects_but_keeps_the_good_part(self, type_url: str) -> None:
        if type_url in self.unanswered:
            self.rejected.add(type_url)
            self.answer(type_url, "no")

    def settle(self) -> None:
        """Read and accept until nothing is said; bounded, or else it loops."""
        for _ in range(40):
            for type_url in list(self.unanswered):
                self.answer(type_url, None)
            if not self.take():
                return
        raise AssertionError("the session never falls silent")

    @rule()
    def ends_with_what_it_should_have(self) -> None:
        self.settle()
        # Clusters stay as long as what leaves them is rejected.
        self.compare(self.names.keys() - self.rejected - (WILD if self.rejected else set()))
        # A rejected version is not sent again; a further change ends that.
        for type_url in self.rejected:
            for name in "abcd":
                self.versions[type_url, name] = self.versions.get((type_url, name), 0) + 1
        self.settle()
        self.rejected.clear()
        self.compare(self.names.keys())

    def compare(self, types: Set[str]) -> None:
        """The proxy has what it asked for, as it is now."""
        for type_url in types:
            held = {name: self.held[type_url].get(name) for name in self.wanted(type_url)}
            assert held == self.wanted(type_url)
            if type_url in WILD:
                assert self.held[type_url] == self.wanted(type_url)

    @precondition(lambda self: self.quiet)
    @invariant()
    def nothing_is_said_when_nothing_changed(self) -> None:
        assert self.session.answer(self.now) is None


class SotwProxy(Proxy):
    def __init__(self) -> None:
        super().__init__()
        self.last: dict[str, tuple[str, str]] = {}
        self.accepted: dict[str, str] = {}

    def connect(self) -> XdsSession:
        return StateOfTheWorld()

    def read(self, body: bytes, type_url: str) -> str:
        answer = Sotw(body)
        if type_url in WILD:
            self.held[type_url] = {}
        self.held[type_url].update(answer.bodies)
        self.last[type_url] = (answer.nonce, answer.version)
        return answer.nonce

    def answer(self, type_url: str, error: str | None) -> None:
        del self.unanswered[type_url]
        self.quiet = False
        nonce, version = self.last[type_url]
        if error is None:
            self.accepted[type_url] = version
        self.session.hear(asks(type_url, *self.names[type_url], nonce=nonce, error=error))

    @rule(type_url=TYPES, names=NAMES)
    def asks_for(self, type_url: str, names: set[str]) -> None:
        self.quiet = False
        names = set() if type_url in WILD else names
        held = self.held.get(type_url, {})
        self.held[type_url] = {name: body for name, body in held.items() if type_url in WILD or name in names}
        self.names[type_url] = names
        nonce, _ = self.last.get(type_url, ("", ""))
        # A request after a response answers it.
        self.unanswered.pop(type_url, None)
        self.session.hear(asks(type_url, *names, nonce=nonce))

    @rule()
    def reconnects(self) -> None:
        self.session, self.last, self.unanswered, self.nonces = self.connect(), {}, {}, set()
        self.quiet = False
        for type_url, names in self.names.items():
            self.session.hear(asks(type_url, *names, version=self.accepted.get(type_url, "")))


class DeltaProxy(Proxy):
    def __init__(self) -> None:
        super().__init__()
        self.had: dict[str, dict[str, str]] = {}

    def connect(self) -> XdsSession:
        return Incremental()

    def read(self, body: bytes, type_url: str) -> str:
        answer = Delta(body)
        assert not set(answer.names) & set(answer.removed)
        self.held[type_url].update(answer.bodies)
        self.had[type_url].update(answer.versions)
        for name in answer.removed:
            self.held[type_url].pop(name, None)
            self.had[type_url].pop(name, None)
        return answer.nonce

    def answer(self, type_url: str, error: str | None) -> None:
        self.quiet = False
        self.session.hear(changes(type_url, nonce=self.unanswered.pop(type_url), error=error))

    @rule(type_url=TYPES, names=NAMES)
    def asks_for(self, type_url: str, names: set[str]) -> None:
        self.quiet = False
        names = set() if type_url in WILD else names
        old = self.names.get(type_url, set())
        self.names[type_url] = names
        for kept in (self.held.setdefault(type_url, {}), self.had.setdefault(type_url, {})):
            for name in old - names:
                kept.pop(name, None)
        self.session.hear(changes(type_url, *(names - old), unsubscribe=sorted(old - names)))

    @rule()
    def reconnects(self) -> None:
        self.session, self.unanswered, self.nonces = self.connect(), {}, set()
        self.quiet = False
        for type_url, names in self.names.items():
            self.session.hear(changes(type_url, *names, had=self.had[type_url]))


TestStateOfTheWorld = SotwProxy.TestCase
TestStateOfTheWorld.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestIncremental = DeltaProxy.TestCase
TestIncremental.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
