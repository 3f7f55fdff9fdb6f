"""The chart -> a control plane in the cluster: its pods, their status and Events, and requests to them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from demo.namespaces import Answer
from tests.e2e.cluster import Cluster
from tests.e2e.helm import CHART, NAMESPACE
from tests.e2e.images import ENVOY_IMAGE
from tools.images import INIT, PROGRAMS

CONTROLLER: Final = "osm-controller"
INJECTOR: Final = "osm-injector"
HTTP: Final = 9091
Json = dict[str, Any]
VALUES: Final[Json] = {
    "image": {"repository": PROGRAMS.tag.rpartition(":")[0]},
    "sidecar": {"image": ENVOY_IMAGE, "initImage": INIT.tag},
}


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the control plane."""

    cluster: Cluster
    name: str
    program: str
    namespace: str = NAMESPACE

    def status(self) -> Json:
        """The status of the pod's container, as kubelet reports it, and the pod's IP."""
        pod = self.cluster.get("pod", self.name, f"--namespace={self.namespace}")
        (status,) = pod["status"]["containerStatuses"]
        return {**status, "podIP": pod["status"]["podIP"]}

    @property
    def pid(self) -> int:
        """The program's process id in the node's PID namespace."""
        return self.cluster.node.pid(self.status()["containerID"])

    def describe(self) -> str:
        """The output of `kubectl describe pod`."""
        return self.cluster.kubectl("describe", "pod", self.name, f"--namespace={self.namespace}")

    def row(self) -> list[str]:
        """The columns in `kubectl get pods`: name, ready, status, restarts, age."""
        return self.cluster.kubectl("get", "pod", self.name, f"--namespace={self.namespace}", "--no-headers").split()

    def events(self) -> list[Json]:
        """The pod's Events: kubelet's and the program's own."""
        selector = f"--field-selector=involvedObject.name={self.name}"
        objects: list[Json] = self.cluster.get("events", f"--namespace={self.namespace}", selector)["items"]
        return objects

    def ask(self, path: str) -> Answer:
        """Send a GET request to the pod's port 9091. Raises OSError."""
        return self.cluster.node.network.request(f"http://{self.status()['podIP']}:{HTTP}{path}")

    def inside(self, *command: str) -> str:
        """Run a command in the pod's network namespace and return its output. Raises ClusterError."""
        return self.cluster.node.run("nsenter", f"--target={self.pid}", "--net", "--", *command)


@dataclass(frozen=True, slots=True)
class Mesh:
    """The control plane that is installed in a namespace, with these values."""

    cluster: Cluster
    namespace: str
    values: Json

    @classmethod
    def installed(
        cls, cluster: Cluster, namespace: str = NAMESPACE, *, values: Json = VALUES, chart: Path = CHART
    ) -> "Mesh":
        """Install the chart into a new namespace that enforces the Pod Security Standard "restricted"."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
        cluster.helm("install", values, namespace=namespace, chart=chart)
        mesh = cls(cluster, namespace, values)
        mesh.until_ready()
        return mesh

    def upgrade(self, values: Json) -> None:
        """Upgrade the release, and wait until all pods of both programs are replaced and ready."""
        self.cluster.helm("upgrade", {**self.values, **values}, namespace=self.namespace)
        self.until_ready()

    def roll_back(self) -> None:
        """Roll the release back to its previous revision, and wait until all pods are replaced and ready."""
        self.cluster.helm("rollback", namespace=self.namespace)
        self.until_ready()

    def until_ready(self, *, within: float = 150.0) -> None:
        """Wait until all pods of both programs are ready."""
        self.cluster.rolled_out(
            *(f"deployment/{program}" for program in (CONTROLLER, INJECTOR)), namespace=self.namespace, within=within
        )

    def pods(self, program: str) -> list[Pod]:
        """The pods of a program that are not being deleted."""
        objects = self.cluster.get("pods", f"--namespace={self.namespace}", f"--selector=app={program}")["items"]
        remaining = [pod["metadata"] for pod in objects if "deletionTimestamp" not in pod["metadata"]]
        return [Pod(self.cluster, metadata["name"], program, self.namespace) for metadata in remaining]

    def endpoints(self, service: str) -> set[str]:
        """The addresses of a Service's ready endpoints."""
        selector = f"--selector=kubernetes.io/service-name={service}"
        slices = self.cluster.get("endpointslices", f"--namespace={self.namespace}", selector)["items"]
        endpoints = [endpoint for slice_ in slices for endpoint in slice_["endpoints"] or ()]
        ready = [endpoint for endpoint in endpoints if endpoint["conditions"].get("ready")]
        return {address for endpoint in ready for address in endpoint["addresses"]}
