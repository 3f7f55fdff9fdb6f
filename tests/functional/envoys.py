"""Bootstrap -> a real Envoy on loopback, and what its admin port says."""

import asyncio
import json
import re
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path


class Admin:
    """A running Envoy's admin port."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def get(self, path: str) -> str:
        def fetch() -> str:
            try:
                with urllib.request.urlopen(f"http://{self._address}{path}", timeout=5) as answer:
                    text: str = answer.read().decode()
            except urllib.error.HTTPError as error:
                # Not ready is said with 503.
                text = error.read().decode()
                error.close()
            return text

        return await asyncio.to_thread(fetch)

    async def stat(self, name: str) -> int:
        found = re.search(rf"^{re.escape(name)}: (\d+)$", await self.get("/stats"), re.MULTILINE)
        return int(found[1]) if found else 0

    async def until(self, path: str, true: Callable[[str], bool], *, within: float) -> str:
        """Ask until the answer is right."""
        async with asyncio.timeout(within):
            while not true(text := await self.get(path)):  # noqa: ASYNC110 - Envoy is asked, it does not tell
                await asyncio.sleep(0.02)
        return text


@asynccontextmanager
async def running_envoy(binary: Path, bootstrap: bytes, *, folder: Path) -> AsyncGenerator[Admin, None]:
    """Envoy with this bootstrap, its admin port any free one."""
    document = json.loads(bootstrap)
    document["admin"]["address"]["socket_address"]["port_value"] = 0
    config, address = folder / "bootstrap.json", folder / "admin"
    config.write_text(json.dumps(document))
    process = await asyncio.create_subprocess_exec(
        *(binary, "-c", config, "--admin-address-path", address, "--disable-hot-restart", "-l", "error"),
        *("--concurrency", "1"),
    )
    try:
        async with asyncio.timeout(20):
            while not (address.exists() and address.read_text()):  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.02)
        yield Admin(address.read_text())
    finally:
        process.kill()
        await process.wait()
