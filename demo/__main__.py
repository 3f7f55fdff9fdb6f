"""`make demo`: real Envoys, configured by our ADS, carry one request; then everything is taken away."""

import shlex
import signal
import sys
from types import FrameType

from demo.errors import DemoError
from demo.namespaces import Namespace, run, why_no_namespaces
from demo.stage import BOOKBUYER_IP, BOOKSTORE_IP, CLUSTER_IP, Stage, stage
from tools.envoy_binary import NoEnvoyError, envoy_binary


def main() -> int:
    """Run the demo; the process's exit status."""
    if reason := why_no_namespaces():
        return _sorry(f"make demo needs root, iproute2 and iptables: {reason}")
    # The blocks' ends take everything away, on these signals too.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    print("a controller, bookbuyer and bookstore are starting, each in a network namespace of its own …", flush=True)
    try:
        with stage(envoy=envoy_binary()) as whole:
            show(whole)
    except (DemoError, NoEnvoyError) as error:
        return _sorry(f"make demo: {error}")
    except KeyboardInterrupt:
        return _sorry("interrupted: everything is stopped and taken away")
    print("\neverything is stopped and taken away again")
    return 0


def show(whole: Stage) -> None:
    """Print what a person should see: a request, what it was on the wire, and the probes."""
    hub = whole.network.hub
    print(f"ready: the ADS has configured the Envoys of bookbuyer {BOOKBUYER_IP} and bookstore {BOOKSTORE_IP}")
    _curl(whole.bookbuyer.pod, "bookbuyer", "-H", "Host: bookstore.bookstore", f"http://{CLUSTER_IP}/books")
    versions = [name.rpartition("ssl.versions.")[2] for name in whole.bookstore.stats(r"^listener.*ssl\.versions")]
    print(f"from sidecar to sidecar: {', '.join(versions)}, with a certificate of the mesh's CA on both sides")
    _curl(hub, "controller", "-i", "http://localhost:9091/health/alive")
    _curl(hub, "controller", "-i", "http://localhost:9091/health/ready")


def _curl(place: Namespace, prompt: str, *arguments: str) -> None:
    print(f"\n{prompt}$ {shlex.join(('curl', *arguments))}", flush=True)
    print(run(*place.command("curl", "-sS", "--max-time", "5", *arguments)).replace("\r", ""))


def _interrupt(number: int, frame: FrameType | None) -> None:
    # Once: a second Ctrl-C must not stop the taking away.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _sorry(text: str) -> int:
    print(text, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
