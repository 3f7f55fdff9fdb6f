"""The chart -> a control plane in the cluster; its pods, what kubelet says of them, and how they are asked."""

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
        """What kubelet reports of its container."""
        pod = self.cluster.get("pod", self.name, f"--namespace={NAMESPACE}")
        (status,) = pod["status"]["containerStatuses"]
        return {**status, "podIP": pod["status"]["podIP"]}

    @property
    def pid(self) -> int:
        """The program's number, as the node counts."""
        return self.cluster.node.pid(self.status()["containerID"])

    def describe(self) -> str:
        """`kubectl describe pod`."""
        return self.cluster.kubectl("describe", "pod", self.name, f"--namespace={NAMESPACE}")

    def row(self) -> list[str]:
        """Its words in `kubectl get pods`: name, ready, status, restarts, age."""
        return self.cluster.kubectl("get", "pod", self.name, f"--namespace={NAMESPACE}", "--no-headers").split()

    def events(self) -> list[Json]:
        """Its Events, the program's own among them."""
        chosen = f"--field-selector=involvedObject.name={self.name}"
        found: list[Json] = self.cluster.get("events", f"--namespace={NAMESPACE}", chosen)["items"]
        return found

    def ask(self, path: str) -> Answer:
        """What its 9091 answers. Raises OSError."""
        return self.cluster.node.network.request(f"http://{self.status()['podIP']}:{HTTP}{path}")

    def inside(self, *command: str) -> str:
        """What a command prints that runs in the pod's network. Raises ClusterError."""
        return self.cluster.node.run("nsenter", f"--target={self.pid}", "--net", "--", *command)


@dataclass(frozen=True, slots=True)
class Mesh:
    """The installed control plane."""

    cluster: Cluster

    @classmethod
    def installed(cls, cluster: Cluster) -> "Mesh":
        """Install the chart, into a namespace with the strictest Pod Security Standard."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
        cluster.helm("install", VALUES)
        mesh = cls(cluster)
        mesh.until_ready()
        return mesh

    def upgrade(self, values: Json) -> None:
        """Upgrade the release; returns when all pods of both programs are new and ready."""
        self.cluster.helm("upgrade", {**VALUES, **values})
        self.until_ready()

    def until_ready(self, *, within: float = 150.0) -> None:
        """Wait until both programs have all their pods ready."""
        self.cluster.rolled_out(
            *(f"deployment/{each}" for each in (CONTROLLER, INJECTOR)), namespace=NAMESPACE, within=within
        )

    def pods(self, program: str) -> list[Pod]:
        """The pods of a program that are not about to end."""
        found = self.cluster.get("pods", f"--namespace={NAMESPACE}", f"--selector=app={program}")["items"]
        staying = [each["metadata"] for each in found if "deletionTimestamp" not in each["metadata"]]
        return [Pod(self.cluster, each["name"], program) for each in staying]

    def endpoints(self, service: str) -> set[str]:
        """The addresses of pods that a Service sends to."""
        chosen = f"--selector=kubernetes.io/service-name={service}"
        slices = self.cluster.get("endpointslices", f"--namespace={NAMESPACE}", chosen)["items"]
        ready = [each for one in slices for each in one["endpoints"] or () if each["conditions"].get("ready")]
        return {address for each in ready for address in each["addresses"]}
