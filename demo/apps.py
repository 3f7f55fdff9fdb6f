"""The two applications: a bookstore that answers and a bookbuyer that asks. They know nothing of the mesh.

`python -m demo.apps bookstore` serves on 14001. `python -m demo.apps bookbuyer URL --rate 200` asks until it is told
to stop (SIGTERM), then prints as one line of JSON what came of it.
"""

import argparse
import encodings.idna  # noqa: F401 - read now: the user that the program becomes may not be able to
import http.client
import json
import signal
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import urlsplit

from demo.become import become

PORT: Final = 14001
USER: Final = 1000
_WORKERS: Final = 8


class Bookstore(BaseHTTPRequestHandler):
    """GET -> the shelf, and who asks, as the sidecar read it in the caller's certificate."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet

    def do_GET(self) -> None:
        """Every path is the shelf."""
        certificate = self.headers.get("x-forwarded-client-cert", "").split(";")
        caller = ", ".join(part.removeprefix("DNS=") for part in certificate if part.startswith("DNS="))
        body = json.dumps({"books": ["The Mesh", "A Tale of Two Probes"], "caller": caller}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Keep silent."""


class Bookbuyer:
    """Asks for `url` at a steady rate and counts every answer. `address`: where the host of the URL is."""

    def __init__(self, url: str, *, address: str, rate: float) -> None:
        parts = urlsplit(url)
        self._host = parts.netloc
        self._path = parts.path or "/"
        self._address = address
        self._every = _WORKERS / rate
        self._outcomes: list[tuple[float, float, str]] = []
        self._stop = threading.Event()

    def buy(self) -> None:
        """Ask until `stop`. Half of the workers keep their connection, half make a new one each time."""
        workers = [threading.Thread(target=self._work, args=(number,)) for number in range(_WORKERS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()

    def receipt(self) -> dict[str, object]:
        """How many requests came to what, over how long, and the slowest of them, in seconds."""
        times = [when for when, _, _ in self._outcomes]
        return {
            "requests": len(self._outcomes),
            "outcomes": Counter(outcome for _, _, outcome in self._outcomes),
            "seconds": round(max(times) - min(times), 3) if times else 0.0,
            "slowest": round(max((took for _, took, _ in self._outcomes), default=0.0), 3),
        }

    def _work(self, number: int) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=5)
        due = time.monotonic() + self._every * number / _WORKERS
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            begun = time.monotonic()
            outcome = self._ask(connection)
            self._outcomes.append((begun, time.monotonic() - begun, outcome))
            if number % 2:
                connection.close()
            due += self._every

    def _ask(self, connection: http.client.HTTPConnection) -> str:
        try:
            connection.request("GET", self._path, headers={"Host": self._host})
            answer = connection.getresponse()
            answer.read()
            return str(answer.status)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return type(error).__name__


def sell() -> None:
    """Be the bookstore."""
    server = ThreadingHTTPServer(("", PORT), Bookstore)
    server.daemon_threads = True
    become(USER)
    server.serve_forever()


def buy(bookbuyer: Bookbuyer) -> None:
    """Be the bookbuyer."""
    become(USER)
    signal.signal(signal.SIGTERM, lambda *_: bookbuyer.stop())
    bookbuyer.buy()
    print(json.dumps(bookbuyer.receipt()), flush=True)


def main() -> None:
    """Be one of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("bookstore")
    buyer = kinds.add_parser("bookbuyer")
    buyer.add_argument("url")
    buyer.add_argument("--address", required=True)
    buyer.add_argument("--rate", type=float, default=1.0)
    arguments = parser.parse_args()
    if arguments.kind == "bookstore":
        sell()
    else:
        buy(Bookbuyer(arguments.url, address=arguments.address, rate=arguments.rate))


if __name__ == "__main__":
    main()
