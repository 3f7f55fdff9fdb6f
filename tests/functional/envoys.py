"""Bootstrap -> a real Envoy on loopback, and queries to its admin port."""

import asyncio
import json
import re
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource

OVER_ADS = ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)


class Admin:
    """The admin interface of a running Envoy."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def get(self, path: str) -> str:
        def fetch() -> str:
            try:
                with urllib.request.urlopen(f"http://{self._address}{path}", timeout=5) as response:
                    text: str = response.read().decode()
            except urllib.error.HTTPError as error:
                # /ready returns 503 while Envoy is not ready; its body is still the result.
                text = error.read().decode()
                error.close()
            return text

        return await asyncio.to_thread(fetch)

    async def stat(self, name: str) -> int:
        match = re.search(rf"^{re.escape(name)}: (\d+)$", await self.get("/stats"), re.MULTILINE)
        return int(match[1]) if match else 0

    async def until(self, path: str, condition: Callable[[str], bool], *, within: float) -> str:
        """Request the page until `condition` holds for its text. Raises TimeoutError."""
        async with asyncio.timeout(within):
            while not condition(text := await self.get(path)):  # noqa: ASYNC110 - Envoy's admin interface can only be polled
                await asyncio.sleep(0.02)
        return text


@asynccontextmanager
async def running_envoy(binary: Path, bootstrap: bytes, *, folder: Path) -> AsyncGenerator[Admin, None]:
    """Envoy with this bootstrap and a free admin port, for the duration of the block."""
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
