"""Requests of proxies, in both forms of the protocol: responses of the requested type, or MalformedRequestError."""

import contextlib
from collections.abc import Iterator
from typing import Any

from envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)
from hypothesis import strategies as st

from osm_probes.ads.delta import Incremental
from osm_probes.ads.errors import MalformedRequestError
from osm_probes.ads.session import Response, XdsSession
from osm_probes.ads.sotw import StateOfTheWorld
from osm_probes.snapshot.snapshot import PUSH_ORDER
from tests.ads.messages import cluster, endpoints, listener, routes, secret, snapshot
from tests.fuzz.mutations import near_bytes
from tests.fuzz.target import Check, FuzzTarget

_SNAPSHOTS = [
    snapshot(),
    snapshot(cluster("a"), endpoints("a"), listener("a"), routes("a"), secret("a")),
    snapshot(
        cluster("a", 2), cluster("b"), endpoints("a", 2), endpoints("b"), listener("a"), routes("b"), secret("a", 2)
    ),
]
_names = st.lists(st.sampled_from(["a", "b", "c", "*", "", "é"]) | st.text(max_size=5), max_size=4)
_types = st.sampled_from([*PUSH_ORDER, "", "x", "type.googleapis.com/x.Y"]) | st.text(max_size=10)
_nonces = st.sampled_from(["", "1", "2", "3", "4", "9"]) | st.text(max_size=3)


@st.composite
def _sotw(draw: st.DrawFn) -> bytes:
    message = DiscoveryRequest(type_url=draw(_types), resource_names=draw(_names), response_nonce=draw(_nonces))
    message.version_info = draw(st.text(max_size=3))
    message.node.id = draw(st.text(max_size=5))
    if draw(st.booleans()):
        message.error_detail.message = draw(st.text(max_size=5))
    return message.SerializeToString()


@st.composite
def _delta(draw: st.DrawFn) -> bytes:
    message = DeltaDiscoveryRequest(
        type_url=draw(_types),
        resource_names_subscribe=draw(_names),
        resource_names_unsubscribe=draw(_names),
        response_nonce=draw(_nonces),
        initial_resource_versions=draw(st.dictionaries(st.text(max_size=2), st.text(max_size=2), max_size=2)),
    )
    if draw(st.booleans()):
        message.error_detail.message = draw(st.text(max_size=5))
    return message.SerializeToString()


@st.composite
def _steps(draw: st.DrawFn, requests: "st.SearchStrategy[bytes]") -> list[bytes | int]:
    """Requests, and the numbers of snapshots that are published."""
    some = draw(st.lists(requests, min_size=1, max_size=3))
    step = requests | near_bytes(some) | st.binary(max_size=40) | st.integers(0, len(_SNAPSHOTS) - 1)
    return draw(st.lists(step, max_size=12))


def _target(
    name: str, session_type: type[XdsSession], response_type: Any, requests: "st.SearchStrategy[bytes]"
) -> FuzzTarget:
    @contextlib.contextmanager
    def opened() -> Iterator[Check]:
        def check(steps: list[bytes | int]) -> None:
            session, current = session_type(), _SNAPSHOTS[1]
            for step in steps:
                if isinstance(step, int):
                    current = _SNAPSHOTS[step]
                else:
                    try:
                        session.handle_request(step)
                    except MalformedRequestError as error:
                        assert len(str(error)) < 1000
                        return  # the stream has ended
                for _ in range(20):
                    response = session.next_response(current)
                    if response is None:
                        break
                    _check_response(response, response_type.FromString(response.body))
                else:
                    raise AssertionError("responses without end")

        yield check

    return FuzzTarget(name, _steps(requests), opened)


def _check_response(response: Response, message: Any) -> None:
    assert message.type_url == response.type_url
    for resource in message.resources:
        body = resource.resource if isinstance(message, DeltaDiscoveryResponse) else resource
        assert body.type_url == response.type_url


TARGETS = (
    _target("ads-state-of-the-world", StateOfTheWorld, DiscoveryResponse, _sotw()),
    _target("ads-incremental", Incremental, DeltaDiscoveryResponse, _delta()),
)
