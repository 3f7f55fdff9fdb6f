"""Stand-ins for what a webhook works with: namespaces, a store of bootstraps and a counter of reviews."""

from collections.abc import Awaitable, Callable

from osm_probes.admission.patch import SidecarInjection
from osm_probes.admission.review import AdmissionRequest
from osm_probes.foundation.errors import OsmError
from osm_probes.mesh.mesh import NamespaceMetadata

LookupResult = NamespaceMetadata | Exception | None


class FakeNamespaces:
    """Namespaces by name; an exception is raised. `current`: changes that are not in the cache yet."""

    def __init__(self, **cached: NamespaceMetadata | Exception) -> None:
        self.cached: dict[str, LookupResult] = {**cached}
        self.current: dict[str, LookupResult] = {}
        self.requests = 0

    async def get_cached(self, name: str) -> NamespaceMetadata | None:
        return _result_or_raise(self.cached.get(name))

    async def get_current(self, name: str) -> NamespaceMetadata | None:
        self.requests += 1
        return _result_or_raise((self.cached | self.current).get(name))


def _result_or_raise(result: LookupResult) -> NamespaceMetadata | None:
    if isinstance(result, Exception):
        raise result
    return result


class FakeBootstrapStore:
    """Keeps what is stored, after awaiting `before`. denial: why nothing could be stored."""

    def __init__(self, before: Callable[[], Awaitable[object]] | None = None, *, denial: str = "") -> None:
        self.stored: list[SidecarInjection] = []
        self.permission_checks = 0
        self._before = before
        self._denial = denial

    async def store(self, injection: SidecarInjection) -> None:
        if self._before is not None:
            await self._before()
        self.stored.append(injection)

    async def check_permission(self) -> None:
        self.permission_checks += 1
        if self._denial:
            raise OsmError(self._denial)


class ReviewCounter:
    """Records reviews, as the program's metrics do."""

    def __init__(self) -> None:
        self.counted: list[tuple[str, bool]] = []
        self.arrivals: list[AdmissionRequest] = []

    def arrived(self, request: AdmissionRequest) -> None:
        self.arrivals.append(request)

    def reviewed(self, *, kind: str, success: bool) -> None:
        self.counted.append((kind, success))
