"""Bytes that peers send -> the end of connections that flood the ADS: grpc limits neither their number nor its memory.

grpc reads as much as a peer sends faster than it is parsed, and HTTP/2 has frames that belong to no request. So the
bytes that the kernel received on a connection are compared with those of the requests that arrived on it.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

import grpc.aio

from osm_probes.ads.limits import Limits
from osm_probes.foundation.memory import resident_bytes
from osm_probes.foundation.rate_limited_log import RateLimitedLog
from osm_probes.foundation.tcp import (
    AcceptedConnections,
    Connection,
    Peer,
    disconnect,
    peer_of,
    received_bytes,
)

Rpc = grpc.aio.ServicerContext[bytes, bytes]

_TICK: Final = 0.1
_SCAN_EVERY: Final = 1.0
_SCAN_SHARE: Final = 50
"""Scans take at most one part in so many of the time, except that there is one a second."""
_GROWTH: Final = 8 * 1024 * 1024
"""Memory that has grown by so many bytes causes a scan at the next tick."""
_BATCH: Final = 500
_OVERHEAD: Final = 64
_OVERHEAD_SHARE: Final = 16
"""The bytes of TLS, HTTP/2 and gRPC around a request: at most so many, and this part of its length."""


@dataclass(slots=True)
class _Account:
    """What is known of a peer's connection. requests: the bytes of its requests. streams: that are open."""

    requests: int = 0
    streams: int = 0
    inode: int = 0
    since: float = 0.0


class CountedRpc:
    """A stream whose requests are counted."""

    def __init__(self, rpc: Rpc, account: _Account) -> None:
        self.write = rpc.write
        self._rpc = rpc
        self._account = account

    async def read(self) -> object:
        """The next message as bytes, or grpc.aio.EOF."""
        request = await self._rpc.read()
        if isinstance(request, bytes):
            self._account.requests += len(request) + len(request) // _OVERHEAD_SHARE + _OVERHEAD
        return request


class TrafficLimiter:
    """Ends connections whose peers send more bytes that belong to no request than `limits` grants."""

    def __init__(self, limits: Limits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._accounts: dict[Peer, _Account] = {}
        self._log = RateLimitedLog("ads")

    @contextlib.contextmanager
    def counted(self, rpc: Rpc) -> Iterator["CountedRpc"]:
        """A stream is open while the block lasts; its requests are counted if they are read from what this yields."""
        account = self._accounts.setdefault(grpc_peer(rpc.peer()), _Account())
        account.streams += 1
        try:
            yield CountedRpc(rpc, account)
        finally:
            account.streams -= 1

    async def watch(self, port: int) -> None:
        """Check all connections to `port`, at least every second. Runs until it is cancelled."""
        connections = AcceptedConnections(port)
        due, memory = 0.0, 0
        while True:
            await asyncio.sleep(_TICK)
            # Without a free file descriptor nothing can be read: try again at the next tick.
            with contextlib.suppress(OSError):
                if self._clock() >= due or resident_bytes() - memory >= _GROWTH:
                    started = self._clock()
                    await self._scan(connections)
                    ended = self._clock()
                    due, memory = ended + min(_SCAN_EVERY, _SCAN_SHARE * (ended - started)), resident_bytes()

    async def _scan(self, connections: AcceptedConnections) -> None:
        seen: set[Peer] = set()
        for number, connection in enumerate(connections):
            seen.add(connection.peer)
            self._check(connection)
            if number % _BATCH == _BATCH - 1:
                await asyncio.sleep(0)
        closed = [peer for peer, account in self._accounts.items() if peer not in seen and not account.streams]
        for peer in closed:
            del self._accounts[peer]

    def _check(self, connection: Connection) -> None:
        account = self._account(connection)
        excess = received_bytes(connection) - account.requests - self._granted(account)
        if excess > 0 and disconnect(connection):
            host, port = connection.peer
            self._log.warning("a connection is ended: its peer floods the ADS", peer=f"{host}:{port}")

    def _account(self, connection: Connection) -> _Account:
        """The account of a connection; a peer's new connection does not take over the requests of its old one."""
        account = self._accounts.setdefault(connection.peer, _Account())
        if account.inode != connection.inode:
            if account.inode:
                account.requests = 0
            account.inode, account.since = connection.inode, self._clock()
        return account

    def _granted(self, account: _Account) -> float:
        """The bytes besides requests that a connection may have sent by now."""
        limits = self._limits
        age = self._clock() - account.since
        # A stream may have one request that is not complete, and one more that was not read yet.
        unread = 2 * limits.request_bytes if account.streams else 0
        return limits.overhead_bytes + limits.overhead_bytes_per_second * age + unread


def grpc_peer(peer: str) -> Peer:
    """grpc's form of an address -> the address."""
    host, _, port = unquote(peer).partition(":")[2].rpartition(":")
    return peer_of((host.strip("[]"), int(port)))
