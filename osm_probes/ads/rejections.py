"""NACKs and ACKs -> which proxies use an old configuration, since when; one report for each change."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from osm_probes.ads.events import Event, Observer, Rejection, RejectionReporter
from osm_probes.ads.known_proxies import KnownProxies, ProxyRecord
from osm_probes.foundation.rate_limited_log import RateLimitedLog
from osm_probes.mesh.identity import ProxyName

_REPORT_EVERY: Final = 10.0


def _now() -> datetime:
    return datetime.now(UTC)


def _ignore(_name: ProxyName, _type_url: str, _rejection: Rejection | None, /) -> None:
    """The default reporter."""


class Rejections:
    """The rejections of all known proxies. A proxy that rejects a version keeps the last one that it accepted.

    Each change of a proxy and type is logged and passed to `report`, but at most every 10 s: a change that comes
    sooner is reported by a later `flush`, unless it is over by then.
    """

    def __init__(
        self,
        known: KnownProxies,
        *,
        observe: Observer,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._known = known
        self._observe = observe
        self.report: RejectionReporter = _ignore
        self._clock = clock
        self._now = now
        self._delayed: dict[tuple[ProxyName, str], None] = {}
        self._log = RateLimitedLog("ads")

    def of(self, name: ProxyName) -> tuple[Rejection, ...]:
        """What the proxy rejects now. Safe to call from another thread."""
        record = self._known.find(name)
        # tuple() copies atomically.
        return tuple(record.rejections.values()) if record else ()

    def record_nack(self, name: ProxyName, type_url: str, *, version: str, detail: str) -> Rejection:
        """The proxy rejected a version. The result has the time of the first rejection since the last acceptance."""
        record = self._known.remember(name)
        earlier = record.rejections.get(type_url)
        since = earlier.since if earlier else self._now()
        rejection = Rejection(type_url, version, detail, since)
        if earlier is None or earlier.version != version:
            record.rejections[type_url] = rejection
            self._observe(Event.REJECTED, type_url=type_url)
            self._report(name, type_url, record)
        return rejection

    def record_acceptance(self, name: ProxyName, type_url: str) -> None:
        """The proxy has the newest version of the type, or at least a newer one than what it rejected."""
        record = self._known.find(name)
        if record and record.rejections.pop(type_url, None):
            self._report(name, type_url, record)

    def flush(self) -> None:
        """Report the changes that came too soon after the last report of the same proxy and type."""
        for key in list(self._delayed):
            name, type_url = key
            record = self._known.find(name)
            if record is None or self._clock() >= record.report_due.get(type_url, 0.0):
                del self._delayed[key]
                if record:
                    self._report(name, type_url, record)

    def _report(self, name: ProxyName, type_url: str, record: ProxyRecord) -> None:
        if self._clock() < record.report_due.get(type_url, 0.0):
            self._delayed[name, type_url] = None
            return
        before, rejection = record.reported.get(type_url), record.rejections.get(type_url)
        if before == rejection:
            return
        record.reported[type_url] = rejection
        record.report_due[type_url] = self._clock() + _REPORT_EVERY
        if rejection is not None:
            self._log_rejection(name, rejection)
        elif before is not None:
            self._log_recovery(name, before)
        self.report(name, type_url, rejection)

    def _log_rejection(self, name: ProxyName, rejection: Rejection) -> None:
        self._log.error(
            "a proxy rejected its configuration",
            proxy=name.uuid,
            identity=str(name.identity),
            type=rejection.type_url,
            version=rejection.version,
            error=rejection.detail,
        )

    def _log_recovery(self, name: ProxyName, before: Rejection) -> None:
        self._log.info(
            "a proxy accepted its configuration again",
            proxy=name.uuid,
            identity=str(name.identity),
            type=before.type_url,
            after=round(max(0.0, (self._now() - before.since).total_seconds()), 1),
        )
