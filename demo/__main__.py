"""`make demo`: real Envoys, configured by osm-controller, carry one request; then everything is removed."""

import shlex
import signal
import sys
from types import FrameType

from demo.errors import DemoError
from demo.namespaces import Namespace, network_namespace_problem, run
from demo.testbed import BOOKBUYER_IP, BOOKSTORE_IP, CLUSTER_IP, MeshTestbed, running_testbed
from tools.envoy_binary import NoEnvoyError, envoy_binary


def main() -> int:
    """Run the demo. Returns the exit status of the process."""
    if reason := network_namespace_problem():
        return _fail(f"make demo needs root, iproute2 and iptables: {reason}")
    # On these signals too, the context managers must remove everything.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    print("starting osm-controller, bookbuyer and bookstore, each in its own network namespace …", flush=True)
    try:
        with running_testbed(envoy=envoy_binary()) as testbed:
            show(testbed)
    except (DemoError, NoEnvoyError) as error:
        return _fail(f"make demo: {error}")
    except KeyboardInterrupt:
        return _fail("interrupted: everything is stopped and removed")
    print("\neverything is stopped and removed")
    return 0


def show(testbed: MeshTestbed) -> None:
    """Print a request between the applications, the TLS version between the sidecars, and the probes' answers."""
    hub = testbed.network.hub
    print(f"ready: the ADS has configured the Envoys of bookbuyer {BOOKBUYER_IP} and bookstore {BOOKSTORE_IP}")
    _curl(testbed.bookbuyer.pod, "bookbuyer", "-H", "Host: bookstore.bookstore", f"http://{CLUSTER_IP}/books")
    versions = [name.rpartition("ssl.versions.")[2] for name in testbed.bookstore.stats(r"^listener.*ssl\.versions")]
    print(f"between the sidecars: {', '.join(versions)}, with a certificate from the mesh's CA on both sides")
    _curl(hub, "controller", "-i", "http://localhost:9091/health/alive")
    _curl(hub, "controller", "-i", "http://localhost:9091/health/ready")


def _curl(namespace: Namespace, prompt: str, *arguments: str) -> None:
    print(f"\n{prompt}$ {shlex.join(('curl', *arguments))}", flush=True)
    print(run(*namespace.command("curl", "-sS", "--max-time", "5", *arguments)).replace("\r", ""))


def _interrupt(number: int, frame: FrameType | None) -> None:
    # Ignore further signals: a second Ctrl-C must not interrupt the clean-up.
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _fail(text: str) -> int:
    print(text, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
