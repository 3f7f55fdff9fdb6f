"""Probes like a kubelet's, as a process: `PERIOD NAME=URL…`. It prints one JSON line for each answer."""

import contextlib
import http.client
import os
import select
import ssl
import sys
import threading
import time

import msgspec

from tests.faults.timeline import NO_RESPONSE, Probe

LIMIT = 5.0
"""The chart's timeoutSeconds."""
_HEADERS = {"User-Agent": "kube-probe/1.34", "Accept": "*/*", "Connection": "close"}


def main() -> None:
    """Send probes until the process is killed. Arguments: the period in seconds, then NAME=URL of each endpoint."""
    period = float(sys.argv[1])
    for target in sys.argv[2:]:
        name, _, url = target.partition("=")
        threading.Thread(target=_probe, args=(name, url, period)).start()


def _probe(name: str, url: str, period: float) -> None:
    while True:
        started = time.monotonic()
        os.write(1, msgspec.json.encode(probe(name, url)) + b"\n")
        # Not time.sleep, which never returns under libfaketime.
        select.select([], [], [], max(0.0, started + period - time.monotonic()))


def probe(name: str, url: str) -> Probe:
    """Send one probe on a new connection. If the status is not 200, the reason is the start of the body."""
    start = time.monotonic()
    status, reason = NO_RESPONSE, ""
    try:
        status, reason = _get(url)
    except (OSError, http.client.HTTPException) as error:
        reason = type(error).__name__
    end = time.monotonic()
    if end - start > LIMIT:
        status, reason = NO_RESPONSE, "timeout"
    return Probe(name, start, end, status, reason)


def _get(url: str) -> tuple[int, str]:
    scheme, _, rest = url.partition("://")
    address, _, path = rest.partition("/")
    with contextlib.closing(_connection(scheme, address)) as connection:
        connection.request("GET", f"/{path}", headers=_HEADERS)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        return answer.status, "" if answer.status == 200 else text[:200]


def _connection(scheme: str, address: str) -> http.client.HTTPConnection:
    if scheme == "http":
        return http.client.HTTPConnection(address, timeout=LIMIT)
    # A kubelet does not verify certificates.
    return http.client.HTTPSConnection(address, timeout=LIMIT, context=_TRUSTS_ALL)


_TRUSTS_ALL = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_TRUSTS_ALL.check_hostname = False
_TRUSTS_ALL.verify_mode = ssl.CERT_NONE

if __name__ == "__main__":
    main()
