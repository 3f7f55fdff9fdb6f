import asyncio
import subprocess
import sys
from unittest.mock import patch

from osm_probes.health.stacks import StackFile
from osm_probes.judge.hang import HangWatch
from tests.judge.evaluators import Clock, view
from tests.log_capture import capture_logs

LISTENER = "import signal; signal.signal(signal.SIGUSR1, lambda *_: exit(3)); print(1, flush=True); input()"


async def test_a_process_that_is_not_the_parent_is_never_signalled() -> None:
    clock = Clock()
    program = view(clock=clock)
    for _ in range(20):
        clock.sleep(1)
        program.read()
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LISTENER, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    await other.stdout.readline()
    stacks = StackFile.create()
    with capture_logs() as lines, patch("asyncio.sleep", side_effect=asyncio.CancelledError):
        watch = asyncio.ensure_future(HangWatch(program, stacks=stacks, program=other.pid).run())
        await asyncio.wait([watch], timeout=5)
    stacks.close()
    await other.communicate(b"\n")
    assert [line["no_stacks"] for line in lines] == ["it has ended"]
    assert other.returncode == 0
