"""50 new pods a second at the webhook, their Secrets stored in a real API server: `python -m benchmarks.injector`."""

import asyncio
import json
import ssl
import statistics
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from osm_probes.program.authority_secret import pair_of
from tests.functional.programs import running
from tests.kubernetes.apiserver import ApiServer, running_api_server
from tests.kubernetes.manifests import install_crds, template

_RATE = 50
_SECONDS = 10
_NAME = "osm-injector.osm-system.svc"


def main() -> None:
    """Print how long the webhook took to answer."""
    with tempfile.TemporaryDirectory() as folder, running_api_server(Path(folder) / "kubernetes") as cluster:
        for name, labels in (("osm-system", {}), ("shop", {"openservicemesh.io/monitored-by": "osm"})):
            metadata = {
                "name": name,
                "labels": labels,
                "annotations": {"openservicemesh.io/sidecar-injection": "enabled"},
            }
            cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        install_crds(cluster)
        for each in template("osm-injector-webhook"):
            cluster.create(each)
        source = (
            *("--kubeconfig", str(cluster.kubeconfig), "--mesh-name=osm", "--osm-namespace=osm-system"),
            *("--ca-bundle-secret-name=osm-ca-bundle", "--webhook-config-name=osm-webhook-osm"),
        )
        with running("osm-injector", Path(folder), source=source) as program:
            program.until_ready()
            took = asyncio.run(_reviews(cluster, program.served_port))
        found = cluster.request("GET", "/api/v1/namespaces/shop/secrets")["items"]
    cuts = statistics.quantiles(took, n=100)
    print(f"{len(took)} reviews at {_RATE}/s: p50 {cuts[49] * 1e3:.1f} ms, p99 {cuts[98] * 1e3:.1f} ms; ", end="")
    print(f"{len(found)} Secrets stored")


async def _reviews(cluster: ApiServer, port: int) -> list[float]:
    secret = cluster.request("GET", "/api/v1/namespaces/osm-system/secrets/osm-ca-bundle")
    context = ssl.create_default_context(cadata=pair_of(json.dumps(secret).encode()).root_pem.decode())
    took: list[float] = []

    async with aiohttp.ClientSession() as session:

        async def one(number: int) -> None:
            started = time.perf_counter()
            url = f"https://127.0.0.1:{port}/mutate-pod-creation"
            async with session.post(url, json=_review(number), ssl=context, server_hostname=_NAME) as answer:
                response = (await answer.json())["response"]
            took.append(time.perf_counter() - started)
            if "patch" not in response:
                sys.exit(f"no patch: {response}")

        async with asyncio.TaskGroup() as group:
            begin = time.monotonic()
            for number in range(_RATE * _SECONDS):
                await asyncio.sleep(max(0.0, begin + number / _RATE - time.monotonic()))
                group.create_task(one(number))
    return took


def _review(number: int) -> dict[str, object]:
    pod = {"metadata": {"name": f"pod-{number}"}, "spec": {"containers": [{"name": "app", "image": "app"}]}}
    request = {
        "uid": str(number),
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "operation": "CREATE",
        "namespace": "shop",
        "object": pod,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


if __name__ == "__main__":
    main()
