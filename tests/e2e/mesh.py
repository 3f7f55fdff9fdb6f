"""The chart -> a control plane in the cluster: its pods, their status and Events, and requests to them."""

from dataclasses import dataclass
from typing import Any, Final

from demo.namespaces import Answer
from tests.e2e.cluster import Cluster
from tests.e2e.helm import NAMESPACE
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

    def status(self) -> Json:
        """The status of the pod's container, as kubelet reports it, and the pod's IP."""
        pod = self.cluster.get("pod", self.name, f"--namespace={NAMESPACE}")
        (status,) = pod["status"]["containerStatuses"]
        return {**status, "podIP": pod["status"]["podIP"]}

    @property
    def pid(self) -> int:
        """The program's process id in the node's PID namespace."""
        return self.cluster.node.pid(self.status()["containerID"])

    def describe(self) -> str:
        """The output of `kubectl describe pod`."""
        return self.cluster.kubectl("describe", "pod", self.name, f"--namespace={NAMESPACE}")

    def row(self) -> list[str]:
        """The columns in `kubectl get pods`: name, ready, status, restarts, age."""
        return self.cluster.kubectl("get", "pod", self.name, f"--namespace={NAMESPACE}", "--no-headers").split()

    def events(self) -> list[Json]:
        """The pod's Events: kubelet's and the program's own."""
        selector = f"--field-selector=involvedObject.name={self.name}"
        objects: list[Json] = self.cluster.get("events", f"--namespace={NAMESPACE}", selector)["items"]
        return objects

    def ask(self, path: str) -> Answer:
        """Send a GET request to the pod's port 9091. Raises OSError."""
        return self.cluster.node.network.request(f"http://{self.status()['podIP']}:{HTTP}{path}")

    def inside(self, *command: str) -> str:
        """Run a command in the pod's network namespace and return its output. Raises ClusterError."""
        return self.cluster.node.run("nsenter", f"--target={self.pid}", "--net", "--", *command)


@dataclass(frozen=True, slots=True)
class Mesh:
    """The installed control plane."""

    cluster: Cluster

    @classmethod
    def installed(cls, cluster: Cluster) -> "Mesh":
        """Install the chart into a namespace that enforces the Pod Security Standard "restricted"."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
        cluster.helm("install", VALUES)
        mesh = cls(cluster)
        mesh.until_ready()
        return mesh

    def upgrade(self, values: Json) -> None:
        """Upgrade the release, and wait until all pods of both programs are replaced and ready."""
        self.cluster.helm("upgrade", {**VALUES, **values})
        self.until_ready()

    def until_ready(self, *, within: float = 150.0) -> None:
        """Wait until all pods of both programs are ready."""
        self.cluster.rolled_out(
            *(f"deployment/{program}" for program in (CONTROLLER, INJECTOR)), namespace=NAMESPACE, within=within
        )

    def pods(self, program: str) -> list[Pod]:
        """The pods of a program that are not being deleted."""
        objects = self.cluster.get("pods", f"--namespace={NAMESPACE}", f"--selector=app={program}")["items"]
        remaining = [pod["metadata"] for pod in objects if "deletionTimestamp" not in pod["metadata"]]
        return [Pod(self.cluster, metadata["name"], program) for metadata in remaining]

    def endpoints(self, service: str) -> set[str]:
        """The addresses of a Service's ready endpoints."""
        selector = f"--selector=kubernetes.io/service-name={service}"
        slices = self.cluster.get("endpointslices", f"--namespace={NAMESPACE}", selector)["items"]
        endpoints = [endpoint for slice_ in slices for endpoint in slice_["endpoints"] or ()]
        ready = [endpoint for endpoint in endpoints if endpoint["conditions"].get("ready")]
        return {address for endpoint in ready for address in endpoint["addresses"]}
