"""A Lease as the API has it <-> who leads, and for how long that counts: pure."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from osm_probes.kube.client import Object
from osm_probes.kube.errors import KubernetesError


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a Lease lasts, when its holder renews it, and after how long without a renewal it gives up; seconds.

    give_up is below duration: the old holder stops before a new one begins.
    """

    duration: float = 15.0
    give_up: float = 10.0
    renew: float = 2.0


class Record(msgspec.Struct, frozen=True, rename="camel"):
    """A Lease's spec: who leads since when. Its times are by the holder's clock: nobody else calculates with them."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None

    @property
    def holder(self) -> str:
        """Who leads; "" if nobody does."""
        return self.holder_identity or ""


class Lease(msgspec.Struct, frozen=True):
    """A Lease; what is in its metadata goes back as it came."""

    metadata: msgspec.Raw
    spec: Record = msgspec.field(default_factory=Record)

    def body(self, record: Record) -> Object:
        """The same Lease with another record, for a PUT: refused if the Lease has changed meanwhile."""
        return {"metadata": self.metadata, "spec": record}


_decode = msgspec.json.Decoder(Lease).decode


def lease_of(content: bytes) -> Lease:
    """Read a Lease. Raises KubernetesError."""
    try:
        return _decode(content)
    except msgspec.DecodeError as error:
        raise KubernetesError(f"no Lease: {error}") from error


@dataclass(frozen=True, slots=True)
class ObservedRecord:
    """A record, and since when it has been seen unchanged, by the clock of who saw it."""

    record: Record
    since: float

    def next(self, record: Record, *, now: float) -> "ObservedRecord":
        """What is seen now: the same for longer, or something new."""
        return self if record == self.record else ObservedRecord(record, now)

    def binds(self, candidate: str, *, now: float, terms: Terms) -> bool:
        """Whether somebody else than `candidate` leads by it: it counts for as long as its holder promised."""
        promised = self.record.lease_duration_seconds or terms.duration
        return self.record.holder not in {"", candidate} and now < self.since + promised


def claimed(previous: Record | None, candidate: str, *, terms: Terms, at: datetime) -> Record:
    """The record by which `candidate` takes the Lease, or keeps it; None = nobody had it before."""
    kept = previous is not None and previous.holder == candidate
    transitions = (previous.lease_transitions or 0) + (0 if kept else 1) if previous is not None else 0
    return Record(
        holder_identity=candidate,
        # The API takes whole seconds, from 1 on.
        lease_duration_seconds=max(1, math.ceil(terms.duration)),
        acquire_time=(previous.acquire_time if previous is not None and kept else None) or micro_time(at),
        renew_time=micro_time(at),
        lease_transitions=transitions,
    )


def released(record: Record, *, at: datetime) -> Record:
    """The record by which its holder lets others lead at once."""
    return msgspec.structs.replace(
        record, holder_identity="", lease_duration_seconds=1, acquire_time=micro_time(at), renew_time=micro_time(at)
    )


def micro_time(at: datetime) -> str:
    """RFC 3339 in microseconds, as the API has it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
