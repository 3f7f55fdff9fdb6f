"""Create 50 pods a second through a real API server for 10 s: `python -m benchmarks.injector`, as root."""

import asyncio
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import aiohttp

from osm_probes.mesh.labels import INJECTION, MONITORED_BY, PROXY_UUID
from osm_probes.mesh.names import webhook_server_name
from osm_probes.mesh.ports import REVIEW_PATH
from tests.functional.programs import running
from tests.kubernetes.apiserver import ADMIN, ApiServer, running_api_server
from tests.kubernetes.hosts import resolve_to_this_machine
from tests.kubernetes.manifests import bootstrap_permissions, install_crds, permissions, template

_RATE = 50
_SECONDS = 10
_SERVER_NAME = webhook_server_name("osm-system")
_PODS = "/api/v1/namespaces/shop/pods"


def main() -> None:
    """Print how long the webhook took to answer, and the share of storing the Secret."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        private = resolve_to_this_machine(_SERVER_NAME, folder=folder)
        with running_api_server(folder / "kubernetes", command_prefix=private) as cluster:
            created = _measured(cluster, folder)
            secrets = cluster.request("GET", "/api/v1/namespaces/shop/secrets")["items"]
        lines = [line.split() for line in (folder / "took").read_text().splitlines()]
    answered, stored = ([float(line[part]) for line in lines] for part in (0, 1))
    print(f"{len(created)} pods at {_RATE}/s, {len(secrets)} Secrets stored")
    print(f"webhook response: {_percentiles(answered)}; {sum(stored) / sum(answered):.0%} of it the Secret's creation")
    print(f"pod creation:     {_percentiles(created)}")


def _measured(cluster: ApiServer, folder: Path) -> list[float]:
    """Seconds that each pod's creation took. The times of the webhook are in the file `took`."""
    _enrol(cluster, "osm-system")
    _enrol(cluster, "shop", **{MONITORED_BY: "osm"})
    install_crds(cluster)
    for rule in [*permissions("osm-injector"), *bootstrap_permissions("osm-injector", "shop")]:
        cluster.create(rule)
    user = cluster.kubeconfig_for("system:serviceaccount:osm-system:osm-injector", "system:serviceaccounts")
    source = (
        *("--kubeconfig", str(user), "--mesh-name=osm", "--osm-namespace=osm-system"),
        *("--ca-bundle-secret-name=osm-ca-bundle", "--webhook-config-name=osm-webhook-osm"),
    )
    timed = (sys.executable, "-m", "benchmarks.timed", str(folder / "took"))
    with running("osm-injector", folder, source=source, where=timed) as timed_program:
        program = replace(timed_program, where=())  # without the timing wrapper for curl
        (webhook,) = template("osm-injector-webhook")
        url = f"https://{_SERVER_NAME}:{program.served_port}{REVIEW_PATH}"
        webhook["webhooks"][0]["clientConfig"] = {"url": url}
        cluster.create(webhook)
        program.until_ready()
        return asyncio.run(_create_pods(cluster))


def _enrol(cluster: ApiServer, name: str, **labels: str) -> None:
    annotations = {INJECTION: "enabled"}
    metadata = {"name": name, "labels": labels, "annotations": annotations}
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


async def _create_pods(cluster: ApiServer) -> list[float]:
    context = ssl.create_default_context(cadata=cluster.pki.root_pem.decode())
    context.load_cert_chain(cluster.pki.folder / f"{ADMIN}.crt", cluster.pki.folder / f"{ADMIN}.key")
    took: list[float] = []

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:

        async def create(number: int) -> None:
            started = time.perf_counter()
            async with session.post(cluster.url + _PODS, json=_pod(number), ssl=context) as answer:
                pod = await answer.json()
            took.append(time.perf_counter() - started)
            if PROXY_UUID not in pod["metadata"].get("labels", {}):
                sys.exit(f"a pod got no sidecar: {pod}")

        async with asyncio.TaskGroup() as group:
            begin = time.monotonic()
            for number in range(_RATE * _SECONDS):
                await asyncio.sleep(max(0.0, begin + number / _RATE - time.monotonic()))
                group.create_task(create(number))
    return took


def _pod(number: int) -> dict[str, object]:
    return {"metadata": {"name": f"pod-{number}"}, "spec": {"containers": [{"name": "app", "image": "app"}]}}


def _percentiles(took: Sequence[float]) -> str:
    cuts = statistics.quantiles(took, n=100)
    return f"p50 {cuts[49] * 1e3:.1f} ms, p99 {cuts[98] * 1e3:.1f} ms"


if __name__ == "__main__":
    main()
