"""A real grpc client of grpc.health.v1."""

import queue
import threading
import time

import grpc

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
SERVICES = {"": b"", "liveness": b"\x0a\x08liveness", "readiness": b"\x0a\x09readiness"}
OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]


def check(port: int, service: str, *, host: str = "127.0.0.1") -> bytes:
    """Send a Check on a new connection, as a kubelet's gRPC probe does."""
    with grpc.insecure_channel(f"{host}:{port}", options=OPTIONS) as channel:
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
        return method(SERVICES[service], timeout=5)


class Watch:
    """The statuses that a Watch has received, with the time of each."""

    def __init__(self, port: int, service: str) -> None:
        self.statuses: queue.Queue[tuple[float, bytes]] = queue.Queue()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS)
        method: grpc.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream("/grpc.health.v1.Health/Watch")
        self._call = method(SERVICES[service])
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._channel.close()
        self._thread.join(2)

    def _receive(self) -> None:
        try:
            for status in self._call:
                self.statuses.put((time.monotonic(), status))
        except grpc.RpcError:
            return
