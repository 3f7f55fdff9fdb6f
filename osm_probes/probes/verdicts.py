"""Rulings -> the newest verdict of each probe, for those who watch."""

from collections.abc import AsyncGenerator, Mapping

from osm_probes.foundation.latest import Latest
from osm_probes.probes.bench import Bench
from osm_probes.probes.verdict import Ruling


class Verdicts:
    """Yes or no of each probe: asked now, or watched."""

    def __init__(self) -> None:
        self._newest: Latest[Mapping[str, bool]] = Latest({})

    def note(self, ruling: Ruling) -> None:
        """Take the newest ruling of a probe."""
        self._newest.set({**self._newest.value, ruling.probe: ruling.healthy})

    async def watch(self, bench: Bench, probe: str) -> AsyncGenerator[bool]:
        """The verdict now, asked for, then each time that it has changed, without an end."""
        said = await verdict(bench, probe)
        yield said
        async for newest in self._newest.values():
            if newest.get(probe, said) is not said:
                said = not said
                yield said


async def verdict(bench: Bench, probe: str) -> bool:
    """The verdict of alive or ready."""
    ruling = bench.alive() if probe == "alive" else await bench.ready()
    return ruling.healthy
