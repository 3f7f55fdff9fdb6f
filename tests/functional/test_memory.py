"""Both programs give freed memory back to the kernel while they run. They do so every 30 s."""

import contextlib
import os
from functools import partial
from pathlib import Path

from tests.faults.injected_code import SIGNAL, SITECUSTOMIZE
from tests.functional.programs import Program, running
from tests.standin import until

MIB = 1024 * 1024

# The blocks are malloc's, and every hundredth stays in use, so that free() cannot give anything back.
FRAGMENT = """\
import os, sys, threading
sys.kept = []
def fragment():
    blocks = [bytes(2000) for _ in range(40_000)]
    sys.kept.extend(blocks[::100])
threads = [threading.Thread(target=fragment) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
with open(os.environ["FRAGMENTED"], "x"):
    pass
"""


def resident(program: Program) -> int:
    """The bytes of a program that are in RAM."""
    statm = Path(f"/proc/{program.process.pid}/statm").read_text()
    return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def has_returned(program: Program, before: int) -> bool:
    """Whether three quarters of the 240 MB are in RAM no longer."""
    return resident(program) < before + 60 * MIB


def test_both_programs_give_freed_memory_back_to_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    with contextlib.ExitStack() as opened:
        programs = []
        for name in ("osm-controller", "osm-injector"):
            folder, code, done = tmp_path / name, tmp_path / f"{name}.py", tmp_path / f"{name}.done"
            folder.mkdir()
            environment = {"PYTHONPATH": path, "FAULT_CODE": str(code), "FRAGMENTED": str(done)}
            program = opened.enter_context(running(name, folder, environment=environment))
            program.until_ready()
            before = resident(program)
            code.write_text(FRAGMENT)
            program.process.send_signal(SIGNAL)
            until(done.exists, within=60)
            programs.append((program, before))
        for program, before in programs:
            until(partial(has_returned, program, before), within=120)
