"""The demo's two applications: a bookstore (HTTP server) and a bookbuyer (HTTP client). Neither knows of the mesh.

`python -m demo.apps bookstore` listens on port 14001. `python -m demo.apps bookbuyer URL --rate 200` sends requests
until SIGTERM, then prints one line of JSON with the results. On SIGUSR1 it prints the results until now.
"""

import argparse
import encodings.idna  # noqa: F401 - imported before the user changes: the new user may not be able to read it
import http.client
import json
import signal
import socket
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Final
from urllib.parse import urlsplit

from demo.switch_user import switch_user

PORT: Final = 14001
USER: Final = 1000
_WORKERS: Final = 8


class Bookstore(BaseHTTPRequestHandler):
    """GET -> the list of books and the caller's identity, which the sidecar took from the client certificate."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # buffered: the header and the body are sent in one packet

    def do_GET(self) -> None:
        """Return the list of books for every path."""
        certificate = self.headers.get("x-forwarded-client-cert", "").split(";")
        caller = ", ".join(part.removeprefix("DNS=") for part in certificate if part.startswith("DNS="))
        body = json.dumps({"books": ["The Mesh", "A Tale of Two Probes"], "caller": caller}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Write no log."""


class Server(ThreadingHTTPServer):
    """Listens on all addresses, IPv4 and IPv6, or only IPv4 where IPv6 is off."""

    daemon_threads = True
    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    def server_bind(self) -> None:
        """Bind the socket, for IPv4 too. HTTPServer's own method may wait for DNS."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "bookstore", PORT


class Bookbuyer:
    """Requests `url` at a steady rate and records the results. It connects to `address` instead of the URL's host."""

    def __init__(self, url: str, *, address: str, rate: float) -> None:
        parts = urlsplit(url)
        self._host = parts.netloc
        self._path = parts.path or "/"
        self._address = address
        self._interval = _WORKERS / rate
        self._results: list[tuple[float, float, str]] = []
        self._stop = threading.Event()

    def run(self) -> None:
        """Send requests until `stop`. Half of the workers keep their connection; half open one for each request."""
        workers = [threading.Thread(target=self._work, args=(number,)) for number in range(_WORKERS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    def stop(self) -> None:
        """Send no more requests."""
        self._stop.set()

    def summary(self) -> dict[str, object]:
        """The fields of `demo.load.LoadResult`."""
        results = list(self._results)  # the workers may be adding more
        starts = [start for start, _, _ in results]
        return {
            "requests": len(results),
            "outcomes": Counter(outcome for _, _, outcome in results),
            "seconds": round(max(starts) - min(starts), 3) if starts else 0.0,
            "slowest": round(max((duration for _, duration, _ in results), default=0.0), 3),
        }

    def _work(self, number: int) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=5)
        due = time.monotonic() + self._interval * number / _WORKERS
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            start = time.monotonic()
            outcome = self._request(connection)
            self._results.append((start, time.monotonic() - start, outcome))
            if number % 2:
                connection.close()
            due += self._interval

    def _request(self, connection: http.client.HTTPConnection) -> str:
        try:
            connection.request("GET", self._path, headers={"Host": self._host})
            response = connection.getresponse()
            response.read()
            return str(response.status)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return type(error).__name__


def run_bookstore() -> None:
    """Serve until the process is killed."""
    server = Server(("", PORT), Bookstore)
    switch_user(USER)
    server.serve_forever()


def run_bookbuyer(bookbuyer: Bookbuyer) -> None:
    """Send requests until SIGTERM, then print the results. On SIGUSR1 print those until now."""
    switch_user(USER)
    signal.signal(signal.SIGTERM, lambda *_: bookbuyer.stop())
    signal.signal(signal.SIGUSR1, lambda *_: print(json.dumps(bookbuyer.summary()), flush=True))
    bookbuyer.run()
    print(json.dumps(bookbuyer.summary()), flush=True)


def main() -> None:
    """Run one of the two applications."""
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("bookstore")
    buyer = kinds.add_parser("bookbuyer")
    buyer.add_argument("url")
    buyer.add_argument("--address", required=True)
    buyer.add_argument("--rate", type=float, default=1.0)
    arguments = parser.parse_args()
    if arguments.kind == "bookstore":
        run_bookstore()
    else:
        run_bookbuyer(Bookbuyer(arguments.url, address=arguments.address, rate=arguments.rate))


if __name__ == "__main__":
    main()
