"""A gRPC server -> an answer to its own program: grpc accepts calls, passes them on and answers them."""

import secrets
from typing import Final

import grpc
import grpc.aio

from osm_probes.ads.errors import ListenError
from osm_probes.foundation.tasks import end_of, finished

_OPTIONS: Final = (
    # The connection is this call's own.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class OwnCall:
    """Calls a server over a second port of it, which answers nothing but this call.

    An answer takes grpc's threads, the task of grpc that accepts calls, and the event loop. It takes no TLS, identity,
    mesh, network or disk, and no free file descriptor either: one connection is kept, as frequent calls keep it from
    becoming idle.

    The port is an abstract Unix socket, which only processes in the network namespace of the pod can reach. Name and
    method are random. The name can be read in /proc/net/unix, the method nowhere. The ADS's methods require the
    certificate of a client, which no connection to this port has.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server
        self._address = f"unix-abstract:osm-{secrets.token_hex(16)}"
        self._bound = False
        self._channel: grpc.aio.Channel | None = None
        service, method = secrets.token_hex(16), "Answer"
        self._path = f"/{service}/{method}"
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(_answer)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))

    def bind(self) -> None:
        """Bind the port; once it is bound, do nothing. Call it before the server starts. Raises ListenError."""
        if self._bound:
            return
        try:
            self._server.add_insecure_port(self._address)
        except RuntimeError as error:
            raise ListenError(f"the ADS cannot listen on a Unix socket for its own calls: {error}") from error
        self._bound = True

    async def failure(self, *, within: float) -> str:
        """Call the server; why there was no answer within so many seconds, or "" if there was one."""
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._address, options=_OPTIONS)
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(self._path)
        call = method(b"", timeout=within)
        # A call that grpc itself cancels raises CancelledError.
        task = await finished(_await(call), name="ads own call")
        if task.cancelled() or (error := task.exception()) is None:
            return end_of(task) if task.cancelled() else ""
        return f"{error.code().name}: {error.details()}" if isinstance(error, grpc.aio.AioRpcError) else end_of(task)

    async def close(self) -> None:
        """Close the connection."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()


async def _await(call: grpc.aio.UnaryUnaryCall[bytes, bytes]) -> None:
    await call


async def _answer(_request: bytes, _rpc: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    return b""
