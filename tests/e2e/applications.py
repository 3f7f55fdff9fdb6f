"""A bookstore and bookbuyers in a mesh whose control plane changes: their traffic, certificates and policy."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography import x509

from demo.load import LoadResult
from osm_probes.admission.pod import bootstrap_secret_name
from osm_probes.mesh.labels import PROXY_UUID
from tests.e2e import shop
from tests.e2e.cluster import Cluster
from tests.e2e.errors import ClusterError
from tests.e2e.mesh import CONTROLLER, Mesh
from tests.e2e.osm_command import osm

MESH: Final = "earlier"
OSM: Final = "osm-earlier"
STORE: Final = "earlier-store"
BUYER: Final = "earlier-buyer"
RATE: Final = 20.0
_TYPES: Final = {"CDS", "LDS", "RDS", "SDS"}  # the bookstore calls nobody, so it asks for no EDS
Json = dict[str, Any]


def enrolled(name: str, account: str) -> list[Json]:
    """A namespace in the mesh as the previous version's `osm namespace add` makes it, and a service account."""
    annotations = {"openservicemesh.io/sidecar-injection": "enabled"}
    metadata = {"name": name, "labels": {"openservicemesh.io/monitored-by": MESH}, "annotations": annotations}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": name}},
    ]


def policy(step: str) -> list[Json]:
    """The bookbuyer may get the books, and a path that is named after a step; and a Service of that name.

    The path changes the configuration of the bookstore's sidecars, the Service that of all sidecars.
    """
    match = {"name": "permitted", "pathRegex": f"/(books|{step})", "methods": ["GET"]}
    account = {"kind": "ServiceAccount", "name": shop.STORE, "namespace": STORE}
    source = {"kind": "ServiceAccount", "name": shop.BUYER, "namespace": BUYER}
    rule = {"kind": "HTTPRouteGroup", "name": "paths", "matches": ["permitted"]}
    return [
        {
            "apiVersion": "specs.smi-spec.io/v1alpha4",
            "kind": "HTTPRouteGroup",
            "metadata": {"name": "paths", "namespace": STORE},
            "spec": {"matches": [match]},
        },
        {
            "apiVersion": "access.smi-spec.io/v1alpha3",
            "kind": "TrafficTarget",
            "metadata": {"name": "buyers", "namespace": STORE},
            "spec": {"destination": account, "sources": [source], "rules": [rule]},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": step, "namespace": STORE},
            "spec": {
                "selector": {"app": shop.STORE},
                "ports": [{"name": "http", "port": 80, "targetPort": shop.PORT}],
            },
        },
    ]


@dataclass(slots=True)
class Applications:
    """A bookstore and its bookbuyers in a mesh, and what was seen of their traffic in earlier steps."""

    mesh: Mesh
    buyers: list[str] = field(default_factory=list)
    results: dict[str, LoadResult] = field(default_factory=dict)
    step: str = ""

    @property
    def cluster(self) -> Cluster:
        """The cluster with the mesh."""
        return self.mesh.cluster

    def start_buyer(self, name: str) -> None:
        """Start a pod that sends requests until the scenario ends; the installed version injects it."""
        url = f"http://{shop.STORE}.{STORE}/books"
        self.cluster.apply(shop.shopper(name, rate=RATE, namespace=BUYER, url=url))
        ready = ("--for=condition=Ready", "--timeout=60s")
        self.cluster.kubectl("wait", f"pod/{name}", f"--namespace={BUYER}", *ready, within=70)
        self.buyers.append(name)

    def scale_store(self, replicas: int) -> None:
        """Start more pods of the bookstore; the installed version injects them."""
        deployment = f"deployment/{shop.STORE}"
        self.cluster.kubectl("scale", deployment, f"--namespace={STORE}", f"--replicas={replicas}")
        self.cluster.rolled_out(deployment, namespace=STORE)

    def sidecars(self) -> dict[str, Json]:
        """All pods with a sidecar, by namespace and name."""
        pods = [pod for name in (STORE, BUYER) for pod in self.cluster.get("pods", f"--namespace={name}")["items"]]
        return {f"{pod['metadata']['namespace']}/{pod['metadata']['name']}": pod for pod in pods}

    def certificate(self, pod: Json) -> x509.Certificate:
        """The certificate for the ADS in a pod's Secret."""
        name = bootstrap_secret_name(pod["metadata"]["labels"][PROXY_UUID])
        secret = self.cluster.get("secret", name, f"--namespace={pod['metadata']['namespace']}")
        (resource,) = json.loads(base64.b64decode(secret["data"]["ads-certificate.json"]))["resources"]
        chain = base64.b64decode(resource["tls_certificate"]["certificate_chain"]["inline_bytes"])
        return x509.load_pem_x509_certificate(chain)

    def certs(self, pod: Json) -> list[Json]:
        """Envoy's own list of the certificates that it uses, with their roots."""
        pid = self.cluster.node.pid(_container(pod, "initContainerStatuses", "envoy"))
        command = ("nsenter", f"--target={pid}", "--net", "--", "curl", "--silent", "http://127.0.0.1:15000/certs")
        certificates: list[Json] = json.loads(self.cluster.node.run(*command))["certificates"]
        return certificates

    def serials(self) -> set[str]:
        """The serial numbers of the certificates that the sidecars use."""
        contexts = [context for pod in self.sidecars().values() for context in self.certs(pod)]
        return {certificate["serial_number"] for context in contexts for certificate in context["cert_chain"]}

    def roots(self) -> set[int]:
        """The numbers of roots that the sidecars trust."""
        contexts = [context for pod in self.sidecars().values() for context in self.certs(pod)]
        return {len(context["ca_cert"]) for context in contexts}

    def until_renewed(self) -> None:
        """Wait until each sidecar uses the certificate for the ADS that is in its Secret."""

        def renewed() -> bool:
            pods = self.sidecars().values()
            return {f"{self.certificate(pod).serial_number:x}" for pod in pods} <= {
                serial.lstrip("0") for serial in self.serials()
            }

        self.cluster.until(renewed, what="the sidecars use their new certificates", within=90.0)

    def check(self, step: str) -> None:
        """Check that all sidecars are served, and that nothing was lost since the last step."""
        self.cluster.until(self._controllers_are_replaced, what="the previous controllers have ended", within=120.0)
        self.cluster.until(lambda: self._connected() is not None, what="all sidecars are connected", within=120.0)
        self._count(f"{step}: before the change of the policy")
        self.cluster.apply(*policy(step))
        for buyer in self.buyers:
            self._until_answer(buyer, f"/{step}", 200)
            if self.step:
                self._until_answer(buyer, f"/{self.step}", 403)
        self.step = step
        self.cluster.until(self._has_one_version, what="all sidecars have the newest policy", within=120.0)
        self._count(f"{step}: after the change of the policy")

    def _count(self, when: str) -> None:
        """Check that requests were sent since the last count, and that none was lost."""
        for buyer in self.buyers:
            result, before = self._results(buyer), self.results.get(buyer)
            self.results[buyer] = result
            assert before is None or result.requests > before.requests, (when, buyer, result)
            assert result.lost == (before.lost if before else 0), (when, buyer, result)

    def _controllers_are_replaced(self) -> bool:
        pods = self.cluster.get("pods", f"--namespace={OSM}", f"--selector=app={CONTROLLER}")["items"]
        return len(pods) == len(self.mesh.pods(CONTROLLER))

    def _connected(self) -> list[Json]:
        """The connected sidecars. Raises ClusterError if one is missing, and fails if one has rejected something."""
        rows = json.loads(osm(self.cluster, "proxy", "list", f"--osm-namespace={OSM}", "--output=json"))
        proxies: list[Json] = [row["proxy"] for row in rows]
        rejections = [proxy for proxy in proxies if any(proxy.get(name) for name in ("rejected", "rejecting", "stuck"))]
        assert not rejections
        names = sorted(f"{proxy['namespace']}/{proxy['pod']}" for proxy in proxies)
        if names != sorted(self.sidecars()):
            raise ClusterError(f"connected are only {names}")
        return proxies

    def _has_one_version(self) -> bool:
        """Whether all sidecars of an application have accepted the same versions, whichever version injected them.

        A stream has no version of a type that has not changed since the sidecar's last stream.
        """
        proxies = self._connected()
        accepted = {(proxy["namespace"], *version) for proxy in proxies for version in proxy["accepted"].items()}
        types = [(namespace, type_name) for namespace, type_name, _ in accepted]
        if len(types) != len(set(types)) or not all(proxy["accepted"] for proxy in proxies):
            raise ClusterError(f"accepted are {accepted}")
        return True

    def _until_answer(self, buyer: str, path: str, status: int) -> None:
        """Wait until 8 requests of a bookbuyer, so of each pod of the bookstore, have this status."""
        get = "c.request('GET', sys.argv[2]); print(c.getresponse().status)"
        code = f"import http.client as h, sys\nfor _ in range(8): c = h.HTTPConnection(sys.argv[1], timeout=5); {get}"
        command = (shop.PYTHON, "-c", code, f"{shop.STORE}.{STORE}", path)
        run = ("exec", buyer, f"--namespace={BUYER}", f"--container={shop.BUYER}", "--", *command)
        self.cluster.until(
            lambda: set(self.cluster.kubectl(*run).split()) == {str(status)},
            what=f"{buyer} gets {status} for {path}",
            within=120.0,
        )

    def _results(self, buyer: str) -> LoadResult:
        """The results of a bookbuyer until now."""
        pod = self.cluster.get("pod", buyer, f"--namespace={BUYER}")
        log = ("logs", buyer, f"--namespace={BUYER}", f"--container={shop.BUYER}")
        before = self.cluster.kubectl(*log).splitlines()
        pid = self.cluster.node.pid(_container(pod, "containerStatuses", shop.BUYER))
        self.cluster.node.run("kill", "-USR1", str(pid))
        after: list[str] = []

        def printed() -> bool:
            after[:] = self.cluster.kubectl(*log).splitlines()
            return len(after) > len(before)

        self.cluster.until(printed, what=f"{buyer} prints its results", within=30.0)
        return LoadResult(**json.loads(after[-1]))


def _container(pod: Json, kind: str, name: str) -> str:
    return next(str(status["containerID"]) for status in pod["status"][kind] if status["name"] == name)
