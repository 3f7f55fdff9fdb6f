"""A model of a proxy for each variant of xDS: it applies responses as Envoy does, and knows what it subscribed to."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

from osm_probes.ads.delta import Incremental
from osm_probes.ads.session import XdsSession
from osm_probes.ads.sotw import StateOfTheWorld
from osm_probes.snapshot.snapshot import CLUSTER, LISTENER, Snapshot
from tests.ads.messages import DeltaResponse, SotwResponse, delta_request, sotw_request

WILDCARD_TYPES = {CLUSTER, LISTENER}


class ModelProxy(ABC):
    """A proxy with one stream to a session.

    names: the subscribed names by type; none means all of a wildcard type. held: the resources that it has, by type and
    name. unanswered: the nonces of responses without ACK or NACK, by the type that the response itself names, which is
    all that a real proxy knows. rejected: types of which it rejected a response since the last `forget_rejections`.
    idle: it has received everything that the session had to send.
    """

    def __init__(self) -> None:
        self.names: dict[str, set[str]] = {}
        self.held: dict[str, dict[str, bytes]] = {}
        self.unanswered: dict[str, str] = {}
        self.rejected: set[str] = set()
        self.idle = False
        self._nonces: set[str] = set()
        self._session = self._new_session()

    def subscribe(self, type_url: str, names: Iterable[str]) -> None:
        """Subscribe to exactly these names; to all resources if the type allows it."""
        self.idle = False
        self._subscribe(type_url, set() if type_url in WILDCARD_TYPES else set(names))

    def receive(self, snapshot: Snapshot) -> bool:
        """Read one response. False if there is none. The response must belong to a subscription that waits for one."""
        response = self._session.next_response(snapshot)
        self.idle = response is None
        if response is None:
            return False
        type_url, nonce = self._apply(response.body)
        assert type_url == response.type_url
        assert type_url in self.names
        assert type_url not in self.unanswered
        assert nonce not in self._nonces
        self._nonces.add(nonce)
        self.unanswered[type_url] = nonce
        return True

    def has_more(self, snapshot: Snapshot) -> bool:
        """Whether the session would send a response."""
        return self._session.next_response(snapshot) is not None

    def accept(self, type_url: str) -> None:
        """Send an ACK if there is a response of the type to answer."""
        if type_url in self.unanswered:
            self._answer(type_url, error=None)

    def reject(self, type_url: str) -> None:
        """Send a NACK, as `accept`. The resources may have been applied in part: the model has applied all."""
        if type_url in self.unanswered:
            self.rejected.add(type_url)
            self._answer(type_url, error="no")

    def reconnect(self) -> None:
        """Open a new stream, with what the proxy has."""
        self._session, self.unanswered, self._nonces, self.idle = self._new_session(), {}, set(), False
        self._resubscribe()

    def settle(self, snapshot: Snapshot) -> None:
        """Receive and accept responses until there are none. Fails if they never end."""
        for _ in range(40):
            for type_url in list(self.unanswered):
                self.accept(type_url)
            if not self.receive(snapshot):
                return
        raise AssertionError("the session never stops sending responses")

    def check(self, snapshot: Snapshot, types: Iterable[str]) -> None:
        """The proxy has the subscribed resources of these types as the snapshot has them."""
        for type_url in types:
            resources = snapshot.sets[type_url].by_name
            names = resources.keys() if type_url in WILDCARD_TYPES else self.names[type_url] & resources.keys()
            truth = {name: resources[name].body for name in names}
            assert {name: self.held[type_url].get(name) for name in names} == truth
            if type_url in WILDCARD_TYPES:
                assert self.held[type_url] == truth

    @abstractmethod
    def _new_session(self) -> XdsSession: ...

    @abstractmethod
    def _subscribe(self, type_url: str, names: set[str]) -> None: ...

    @abstractmethod
    def _resubscribe(self) -> None: ...

    @abstractmethod
    def _apply(self, body: bytes) -> tuple[str, str]:
        """Apply a response to the type that it names. Returns that type and the nonce."""

    @abstractmethod
    def _answer(self, type_url: str, *, error: str | None) -> None: ...


class SotwProxy(ModelProxy):
    """Uses the state-of-the-world variant."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, tuple[str, str]] = {}
        self._accepted: dict[str, str] = {}

    def _new_session(self) -> XdsSession:
        return StateOfTheWorld()

    def _apply(self, body: bytes) -> tuple[str, str]:
        response = SotwResponse(body)
        held = self.held.setdefault(response.type_url, {})
        if response.type_url in WILDCARD_TYPES:
            held.clear()
        held.update(response.bodies)
        self._last[response.type_url] = (response.nonce, response.version)
        return response.type_url, response.nonce

    def _answer(self, type_url: str, *, error: str | None) -> None:
        del self.unanswered[type_url]
        self.idle = False
        nonce, version = self._last[type_url]
        if error is None:
            self._accepted[type_url] = version
        self._session.handle_request(sotw_request(type_url, *self.names[type_url], nonce=nonce, error=error))

    def _subscribe(self, type_url: str, names: set[str]) -> None:
        held = self.held.get(type_url, {})
        self.held[type_url] = {name: body for name, body in held.items() if type_url in WILDCARD_TYPES or name in names}
        self.names[type_url] = names
        nonce, _ = self._last.get(type_url, ("", ""))
        # A request with the last nonce acknowledges the pending response.
        self.unanswered.pop(type_url, None)
        self._session.handle_request(sotw_request(type_url, *names, nonce=nonce))

    def _resubscribe(self) -> None:
        self._last = {}
        for type_url, names in self.names.items():
            version = self._accepted.get(type_url, "")
            self._session.handle_request(sotw_request(type_url, *names, version=version))


class DeltaProxy(ModelProxy):
    """Uses the incremental variant."""

    def __init__(self) -> None:
        super().__init__()
        self._versions: dict[str, dict[str, str]] = {}

    def _new_session(self) -> XdsSession:
        return Incremental()

    def _apply(self, body: bytes) -> tuple[str, str]:
        response = DeltaResponse(body)
        assert not set(response.names) & set(response.removed)
        held = self.held.setdefault(response.type_url, {})
        versions = self._versions.setdefault(response.type_url, {})
        held.update(response.bodies)
        versions.update(response.versions)
        for name in response.removed:
            held.pop(name, None)
            versions.pop(name, None)
        return response.type_url, response.nonce

    def _answer(self, type_url: str, *, error: str | None) -> None:
        self.idle = False
        self._session.handle_request(delta_request(type_url, nonce=self.unanswered.pop(type_url), error=error))

    def _subscribe(self, type_url: str, names: set[str]) -> None:
        old = self.names.get(type_url, set())
        self.names[type_url] = names
        held, versions = self.held.setdefault(type_url, {}), self._versions.setdefault(type_url, {})
        for name in old - names:
            held.pop(name, None)
            versions.pop(name, None)
        self._session.handle_request(delta_request(type_url, *(names - old), unsubscribe=sorted(old - names)))

    def _resubscribe(self) -> None:
        for type_url, names in self.names.items():
            versions = self._versions[type_url]
            self._session.handle_request(delta_request(type_url, *names, initial_versions=versions))
