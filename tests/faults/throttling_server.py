"""A substitute for an API server that returns 429 to every request, as a process: `PORT CERTIFICATE KEY`."""

import http.server
import json
import ssl
import sys

_STATUS = json.dumps({"kind": "Status", "code": 429, "reason": "TooManyRequests", "message": "too many requests"})


class _ThrottlingHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10.0

    def _refuse(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(429)
        self.send_header("Retry-After", "1")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(_STATUS)))
        self.end_headers()
        self.wfile.write(_STATUS.encode())

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _refuse  # noqa: N815 - the library's names

    def log_message(self, *_: object) -> None:
        """Write no log."""


def main(port: int, certificate: str, key: str) -> None:
    """Serve until the process is killed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), _ThrottlingHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
