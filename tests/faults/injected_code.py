"""Python code that is injected into the program: a sitecustomize module executes a file when it gets a signal.

The programs have no test hooks. The judge imports the same sitecustomize module, but ignores it.
"""

import signal

SIGNAL = signal.SIGRTMIN + 1

# The code runs in the main thread, between two steps of the event loop.
SITECUSTOMIZE = f"""\
import os, sys
if "osm_probes.judge" not in sys.orig_argv:
    def _execute(*_):
        with open(os.environ["FAULT_CODE"]) as file:
            exec(file.read(), {{}})
    import signal
    signal.signal({int(SIGNAL)}, _execute)
    if os.path.exists(os.environ["FAULT_CODE"]):
        _execute()
"""


def block(seconds: float) -> str:
    """Block the event loop's thread; other threads run."""
    return f"import time\ntime.sleep({seconds})"


def hold_gil(seconds: float) -> str:
    """Stop all Python threads: wait, with the GIL held, for a C mutex that no signal interrupts."""
    return f"""\
import ctypes, time
libc = ctypes.PyDLL(None)
mutex = ctypes.create_string_buffer(64)
until = (ctypes.c_long * 2)(int(time.time() + {seconds}), 0)
libc.pthread_mutex_lock(mutex)
libc.pthread_mutex_timedlock(mutex, until)
"""


CANCEL_ACCEPT_LOOP = """\
import asyncio
found = [task for task in asyncio.all_tasks() if task.get_coro().__qualname__ == "AioServer._server_main_loop"]
assert found, "grpc has another name for the task that accepts calls"
for task in found:
    task.cancel()
"""

REFUSE_TO_ISSUE = """\
from osm_probes.pki.authority import Authority, InvalidAuthorityError
def refuse(*_, **__):
        raise InvalidAuthorityError("injected fault: no certificate is issued")
Authority.original = Authority.issue
Authority.issue = refuse
"""

ISSUE_FROM_ANOTHER_CA = """\
from osm_probes.pki.authority import Authority
foreign = Authority.create("another-ca")
Authority.original = Authority.issue
Authority.issue = lambda _, *args, **kwargs: Authority.original(foreign, *args, **kwargs)
"""

RESTORE_ISSUING = """\
from osm_probes.pki.authority import Authority
Authority.issue = Authority.original
"""

BREAK_REVIEWS = """\
from osm_probes.admission.webhook import Webhook
async def fail(*_, **__):
    raise RuntimeError("injected fault: the review fails")
Webhook.original = Webhook.answer
Webhook.answer = fail
"""

RESTORE_REVIEWS = """\
from osm_probes.admission.webhook import Webhook
Webhook.answer = Webhook.original
"""


END_SIDE_TASKS = """\
import asyncio, gc
from osm_probes.kube.events import EventRecorder
async def fail(_):
    raise RuntimeError("injected fault: File descriptor 25 is used by transport")
EventRecorder.original = EventRecorder._write_due
EventRecorder._write_due = fail
for recorder in [found for found in gc.get_objects() if isinstance(found, EventRecorder)]:
    recorder._changes.notify()
for task in asyncio.all_tasks():
    if task.get_name() in ("source", "ca_secret", "settings", "bundle", "memory"):
        task.cancel()
"""

RESTORE_SIDE_TASKS = """\
from osm_probes.kube.events import EventRecorder
EventRecorder._write_due = EventRecorder.original
"""


def break_builds(*, of: str) -> str:
    """Make the snapshot builds of this service account fail, or of all service accounts ("")."""
    return f"""\
from osm_probes.xds.build import SnapshotBuilder
original = SnapshotBuilder.build
def build(self, mesh, identity, **more):
    if {of!r} in ("", identity.service_account):
        raise RuntimeError("injected fault: the snapshot build fails")
    return original(self, mesh, identity, **more)
SnapshotBuilder.original = original
SnapshotBuilder.build = build
"""


RESTORE_BUILDS = """\
from osm_probes.xds.build import SnapshotBuilder
SnapshotBuilder.build = SnapshotBuilder.original
"""

HANG_BUILDS = """\
import threading
from osm_probes.xds.build import SnapshotBuilder
original, released = SnapshotBuilder.build, threading.Event()
def build(self, *args, **more):
    released.wait()
    return original(self, *args, **more)
SnapshotBuilder.original, SnapshotBuilder.released, SnapshotBuilder.build = original, released, build
"""

RELEASE_BUILDS = """\
from osm_probes.xds.build import SnapshotBuilder
SnapshotBuilder.build = SnapshotBuilder.original
SnapshotBuilder.released.set()
"""

FILL_DEFAULT_EXECUTOR = """\
import asyncio, builtins, threading
builtins.released = threading.Event()
for _ in range(200):
    asyncio.get_running_loop().run_in_executor(None, builtins.released.wait)
"""

EMPTY_DEFAULT_EXECUTOR = """\
import builtins
builtins.released.set()
"""

HANG_FOLDER = """\
import builtins, threading
from osm_probes.sources import folder_source
builtins.released, folder_source.original = threading.Event(), folder_source.scan_folder
def scan_folder(folder):
    builtins.released.wait()
    return folder_source.original(folder)
folder_source.scan_folder = scan_folder
"""

RELEASE_FOLDER = """\
import builtins
from osm_probes.sources import folder_source
folder_source.scan_folder = folder_source.original
builtins.released.set()
"""

CANCEL_TASKS_OF_THE_MESH = """\
import asyncio
for task in asyncio.all_tasks():
    if task.get_name() in ("source", "publish", "mesh", "subscribed", "delays", "builds", "certificates", "trust"):
        task.cancel()
"""

STOP_BROADCAST = """\
from osm_probes.ads.stream import Stream
Stream.original = Stream.wake
Stream.wake = lambda self: None
"""

RESTORE_BROADCAST = """\
import gc
from osm_probes.ads.stream import Stream
Stream.wake = Stream.original
for stream in gc.get_objects():
    if isinstance(stream, Stream):
        stream.wake()
"""
