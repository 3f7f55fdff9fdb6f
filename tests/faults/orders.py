"""Python that the program is made to run from outside: a sitecustomize that executes a file on a signal.

The product has no fault switch, and its judge, which imports the same sitecustomize, takes no orders.
"""

import signal

SIGNAL = signal.SIGRTMIN + 1

# In the main thread, between two steps of the event loop.
SITECUSTOMIZE = f"""\
import os, sys
if "osm_probes.judge.main" not in sys.orig_argv:
    def _obey(*_):
        with open(os.environ["FAULT_ORDER"]) as file:
            exec(file.read(), {{}})
    import signal
    signal.signal({int(SIGNAL)}, _obey)
    if os.path.exists(os.environ["FAULT_ORDER"]):
        _obey()
"""


def block(seconds: float) -> str:
    """The event loop's thread sleeps; other threads run."""
    return f"import time\ntime.sleep({seconds})"


def hold_gil(seconds: float) -> str:
    """No Python runs at all: a lock in C that no signal interrupts, waited for with the GIL held."""
    return f"""\
import ctypes, time
libc = ctypes.PyDLL(None)
mutex = ctypes.create_string_buffer(64)
until = (ctypes.c_long * 2)(int(time.time() + {seconds}), 0)
libc.pthread_mutex_lock(mutex)
libc.pthread_mutex_timedlock(mutex, until)
"""


REFUSE_CERTIFICATES = """\
from osm_probes.pki.authority import Authority, InvalidAuthorityError
def refuse(*_, **__):
    raise InvalidAuthorityError("a fault of the matrix: nothing is issued")
Authority.kept = Authority.issue
Authority.issue = refuse
"""

FOREIGN_CERTIFICATES = """\
from osm_probes.pki.authority import Authority
foreign = Authority.create("another-ca")
Authority.kept = Authority.issue
Authority.issue = lambda _, *args, **kwargs: Authority.kept(foreign, *args, **kwargs)
"""

HONEST_CERTIFICATES = """\
from osm_probes.pki.authority import Authority
Authority.issue = Authority.kept
"""

BREAK_REVIEWS = """\
from osm_probes.admission.webhook import Webhook
async def broken(*_, **__):
    raise RuntimeError("a fault of the matrix: no review")
Webhook.kept = Webhook.answer
Webhook.answer = broken
"""

MEND_REVIEWS = """\
from osm_probes.admission.webhook import Webhook
Webhook.answer = Webhook.kept
"""


def break_builds(*, of: str) -> str:
    """Snapshots of this service account, or of all (""), cannot be built."""
    return f"""\
from osm_probes.xds.build import SnapshotBuilder
kept = SnapshotBuilder.build
def build(self, mesh, identity, **more):
    if {of!r} in ("", identity.service_account):
        raise RuntimeError("a fault of the matrix: no snapshot")
    return kept(self, mesh, identity, **more)
SnapshotBuilder.kept = kept
SnapshotBuilder.build = build
"""


MEND_BUILDS = """\
from osm_probes.xds.build import SnapshotBuilder
SnapshotBuilder.build = SnapshotBuilder.kept
"""
