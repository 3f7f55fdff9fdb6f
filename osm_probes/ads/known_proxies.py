"""What the ADS remembers of a proxy between its streams, for a limited number of proxies."""

from collections import OrderedDict
from dataclasses import dataclass, field

from osm_probes.ads.events import Rejection
from osm_probes.mesh.identity import ProxyName


@dataclass(slots=True)
class ProxyRecord:
    """Facts about one proxy, by resource type.

    rejections: what it rejected and has not accepted a newer version of since. reported: the rejection in the last
    report, None if that was a recovery. report_due: the earliest time of the next report, in seconds of the monotonic
    clock. ended: the last version that it did not answer, and how many streams were ended because of that.
    """

    rejections: dict[str, Rejection] = field(default_factory=dict)
    reported: dict[str, Rejection | None] = field(default_factory=dict)
    report_due: dict[str, float] = field(default_factory=dict)
    ended: dict[str, tuple[str, int]] = field(default_factory=dict)


class KnownProxies:
    """The records of the `limit` proxies that were used last."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._records: OrderedDict[ProxyName, ProxyRecord] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, name: ProxyName) -> bool:
        return name in self._records

    def find(self, name: ProxyName) -> ProxyRecord | None:
        """The proxy's record, if there is one."""
        return self._records.get(name)

    def remember(self, name: ProxyName) -> ProxyRecord:
        """The proxy's record; a new one if there is none. The record that was used least recently makes room."""
        record = self._records.setdefault(name, ProxyRecord())
        self._records.move_to_end(name)
        if len(self._records) > self._limit:
            self._records.popitem(last=False)
        return record
