"""The Lease object, and the rules by which replicas take, renew and release it. Pure."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from osm_probes.kube.client import JsonObject
from osm_probes.kube.errors import KubernetesError


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """The periods of leader election, in seconds, as in client-go.

    duration: other replicas wait this long after the last renewal before they take the Lease. renew_deadline: a leader
    that cannot renew for this long steps down; it is below `duration`, so that it stops before another replica starts.
    retry_period: the time between two attempts to take or renew the Lease.
    """

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0


class LeaseSpec(msgspec.Struct, frozen=True, rename="camel"):
    """The spec of a Lease. Its times are from the holder's clock: never compare them with another machine's clock."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None

    @property
    def holder(self) -> str:
        """The identity of the leader; "" if there is none."""
        return self.holder_identity or ""


class Lease(msgspec.Struct, frozen=True):
    """A Lease. Its metadata is kept as raw JSON and written back unchanged."""

    metadata: msgspec.Raw
    spec: LeaseSpec = msgspec.field(default_factory=LeaseSpec)

    def with_spec(self, spec: LeaseSpec) -> JsonObject:
        """The body of a PUT that changes the spec; it includes the resourceVersion, so a stale one is a conflict."""
        return {"metadata": self.metadata, "spec": spec}


_decode = msgspec.json.Decoder(Lease).decode


def decode_lease(content: bytes) -> Lease:
    """A Lease from JSON. Raises KubernetesError."""
    try:
        return _decode(content)
    except msgspec.DecodeError as error:
        raise KubernetesError(f"the Lease cannot be decoded: {error}") from error


@dataclass(frozen=True, slots=True)
class ObservedLease:
    """A Lease's spec, and since when this replica has seen it unchanged, by its own clock."""

    spec: LeaseSpec
    since: float

    def observe(self, spec: LeaseSpec, *, now: float) -> "ObservedLease":
        """The observation after the spec was read again."""
        return self if spec == self.spec else ObservedLease(spec, now)

    def held_by_other(self, candidate: str, *, now: float, timing: LeaseTiming) -> bool:
        """Whether another replica than `candidate` holds the Lease: not renewed for its duration, it is free."""
        duration = self.spec.lease_duration_seconds or timing.duration
        return self.spec.holder not in {"", candidate} and now < self.since + duration


def claimed_spec(previous: LeaseSpec | None, candidate: str, *, timing: LeaseTiming, at: datetime) -> LeaseSpec:
    """The spec with which `candidate` takes or renews the Lease. previous: None if the Lease does not exist yet."""
    renews = previous is not None and previous.holder == candidate
    transitions = (previous.lease_transitions or 0) + (0 if renews else 1) if previous is not None else 0
    return LeaseSpec(
        holder_identity=candidate,
        # The API accepts whole seconds from 1 on.
        lease_duration_seconds=max(1, math.ceil(timing.duration)),
        acquire_time=(previous.acquire_time if previous is not None and renews else None) or micro_time(at),
        renew_time=micro_time(at),
        lease_transitions=transitions,
    )


def released_spec(spec: LeaseSpec, *, at: datetime) -> LeaseSpec:
    """The spec with which the holder releases the Lease, so that another replica can take it at once."""
    return msgspec.structs.replace(
        spec, holder_identity="", lease_duration_seconds=1, acquire_time=micro_time(at), renew_time=micro_time(at)
    )


def micro_time(at: datetime) -> str:
    """The API's MicroTime: RFC 3339 in UTC, with microseconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
