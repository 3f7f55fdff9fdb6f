import asyncio
import subprocess
import sys

from osm_probes.foundation.memory import resident_bytes

FRAGMENT = """
import asyncio, threading
from osm_probes.foundation.memory import resident_bytes, return_freed_memory

kept = []

def fragment():
    blocks = [bytes(2000) for _ in range(40_000)]  # 80 MB, of which every hundredth block stays in use
    kept.extend(blocks[::100])

async def main():
    threads = [threading.Thread(target=fragment) for _ in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    before = resident_bytes()
    returning = asyncio.create_task(return_freed_memory(every=0.05))
    for _ in range(600):
        await asyncio.sleep(0.05)
        if resident_bytes() < before / 2:
            break
    returning.cancel()
    print(before, resident_bytes())

asyncio.run(main())
"""


async def test_freed_memory_between_used_blocks_is_returned() -> None:
    # In a process of its own, whose memory no other test has touched.
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", FRAGMENT, stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    before, after = map(int, output.split())
    assert after < before / 2


def test_the_memory_of_this_process_is_known() -> None:
    assert 1 << 20 < resident_bytes() < 1 << 36
