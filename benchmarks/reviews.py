"""The largest reviews, one after another, and how long each blocks the event loop: `python -m benchmarks.reviews`."""

import asyncio
import gc
import time

from osm_probes.admission.review import MalformedReviewError
from osm_probes.admission.webhook import Webhook
from osm_probes.foundation.tasks import background_tasks
from tests.admission.fakes import FakeNamespaces
from tests.admission.pods import ENROLLED, OPTIONS, Json, annotated, container, encoded, pod, review

_TICK = 0.001
_PROBE = {"httpGet": {"path": "/", "port": 80}}


def _pods() -> dict[str, Json]:
    probed = {"livenessProbe": _PROBE, "readinessProbe": _PROBE}
    ranges = ",".join(f"10.{number % 250}.{number % 199}.0/24" for number in range(500))
    ports = ",".join(str(10_000 + number) for number in range(500))
    lists = {"outbound_ip_range_exclusion_list": ranges, "outbound_ip_range_inclusion_list": ranges}
    lists |= {"inbound_port_exclusion_list": ports, "outbound_port_exclusion_list": ports}
    at_the_limits = pod(*[container(f"c{number}", **probed) for number in range(250)])
    at_the_limits["metadata"] |= annotated(**lists)["metadata"]
    return {
        "one container": pod(),
        "at all limits: 250 containers, 500 probes, 500 items in each annotation": at_the_limits,
        "22,556 containers": pod(*[container(f"c{number}", livenessProbe=_PROBE) for number in range(22_556)]),
        "250,000 ranges": annotated(outbound_ip_range_exclusion_list=",".join(["10.11.12.13"] * 250_000)),
        "99,000 containers without a field": pod(*[{"name": ""}] * 99_000),
        "99,000 labels": pod(metadata={"labels": {str(number): "" for number in range(99_000)}}),
        "240,000 containers without a field": pod(*[{"name": ""}] * 240_000),
        "2.7 MB of unknown fields": pod(unknown=[{}] * 900_000),
    }


async def _measure() -> None:
    webhook = Webhook(OPTIONS, namespaces=FakeNamespaces(bookstore=ENROLLED), within=20)
    lags: list[float] = []

    async def tick() -> None:
        while True:
            started = time.perf_counter()
            await asyncio.sleep(_TICK)
            lags.append(time.perf_counter() - started - _TICK)

    for name, original in _pods().items():
        body = encoded(review(original))
        gc.collect()
        lags.clear()
        async with background_tasks(tick=tick()):
            await asyncio.sleep(0.02)
            started = time.perf_counter()
            try:
                answer = await webhook.answer(body)
            except MalformedReviewError as error:
                answer = str(error).encode()
            took = time.perf_counter() - started
            await asyncio.sleep(0.02)
        verdict = "patched" if b"JSONPatch" in answer else "denied"
        size = f"{len(body) / 1e6:.2f} MB -> {len(answer) / 1e6:.2f} MB"
        print(f"{name}: {size}, {verdict} after {took * 1e3:.0f} ms, loop blocked for {max(lags) * 1e3:.0f} ms")


if __name__ == "__main__":
    asyncio.run(_measure())
