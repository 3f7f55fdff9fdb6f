"""The JSON of /debug/proxies, which `osm proxy list` reads. It contains no keys and no configuration."""

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from osm_probes.foundation.durations import age


class RejectedVersion(msgspec.Struct, frozen=True):
    """A version that a proxy rejected (NACK), with its error message.

    since: when it began to reject this type; from then on its configuration was old. None if the controller does not
    tell, because it is of an earlier version.
    """

    type: str
    version: str
    reason: str
    since: datetime | None = None

    @property
    def problem(self) -> str:
        """What this means, for a person."""
        since = f" since {self.since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if self.since else ""
        return f"{self.type} is old{since}"


class UnansweredVersion(msgspec.Struct, frozen=True):
    """A version that a proxy has neither accepted nor rejected, and for how many seconds."""

    type: str
    version: str
    seconds: float

    @property
    def problem(self) -> str:
        """What this means, for a person."""
        return f"{self.type} is unanswered for {age(self.seconds)}"


class ProxyStatus(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A proxy with an open stream. accepted: versions by resource type. connected: age of the stream in seconds.

    rejected: the last rejection on this stream. rejecting: by type, what it rejects now, so that it uses an old
    configuration. stuck: what it should have answered long ago, so that it gets no updates of this type.
    """

    uuid: str
    namespace: str
    service_account: str
    pod: str
    protocol: str
    connected: float
    accepted: Mapping[str, str]
    rejected: RejectedVersion | None = None
    rejecting: list[RejectedVersion] = []
    stuck: list[UnansweredVersion] = []

    @property
    def pod_name(self) -> str:
        """Namespace and pod; the uuid if the pod is not known."""
        return f"{self.namespace}/{self.pod or self.uuid}"


class ConnectedProxies(msgspec.Struct, frozen=True):
    """count: all connected proxies. proxies: the first 10,000 of them."""

    count: int
    proxies: list[ProxyStatus]
