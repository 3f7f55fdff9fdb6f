"""A node -> a Kubernetes cluster on it, from API server to DNS, with kubectl to query it."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from demo.processes import Process
from tests.e2e import configuration
from tests.e2e.configuration import NODE, NODE_ADDRESS
from tests.e2e.errors import ClusterError
from tests.e2e.helm import CHART, NAMESPACE
from tests.e2e.node import Node, run_within
from tests.kubernetes.apiserver import ApiServer
from tools.node_binaries import node_binaries

DNS: Final = Path(__file__).with_name("coredns.yaml")
_ROOT: Final = Path(__file__).parents[2]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running one-node cluster."""

    node: Node
    api: ApiServer
    programs: Path

    def command(self, *arguments: str) -> list[str]:
        """The kubectl command line, with administrator credentials."""
        kubectl = [str(self.programs / "kubectl"), f"--kubeconfig={self.api.kubeconfig}"]
        return self.node.network.command(*kubectl, *arguments)

    def kubectl(self, *arguments: str, within: float = 60.0) -> str:
        """Run kubectl and return its output. Raises ClusterError with kubectl's error message."""
        return run_within(self.command(*arguments), within=within)

    def get(self, *arguments: str) -> Json:
        """Get an object or a list of objects. Raises ClusterError."""
        result: Json = json.loads(self.kubectl("get", *arguments, "--output=json"))
        return result

    def apply(self, *documents: Json) -> None:
        """Create or change objects."""
        file = self.node.state / "apply.json"
        file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))
        self.kubectl("apply", "--filename", str(file))

    def helm(
        self, act: str, values: Mapping[str, Any] | None = None, *, namespace: str = NAMESPACE, chart: Path = CHART
    ) -> None:
        """Install, upgrade, test, roll back or uninstall the release in a namespace. Raises ClusterError."""
        with_chart = [json.dumps(values), str(chart)] if values is not None else []
        arguments = [str(self.api.kubeconfig), namespace, act, *with_chart]
        run_within(
            ["env", "-C", str(_ROOT), *self.node.network.command(sys.executable, "-m", "tests.e2e.helm", *arguments)],
            within=120.0,
        )

    def until(self, condition: Callable[[], object], *, what: str, within: float) -> None:
        """Wait until the condition is true; a ClusterError counts as false. Raises ClusterError on a timeout."""
        end = time.monotonic() + within
        reason = ""
        while time.monotonic() < end:
            try:
                if condition():
                    return
            except ClusterError as error:
                reason = str(error)
            time.sleep(0.5)
        raise ClusterError(f"{what}: not within {within:g} s {reason}\n{self._diagnostics()}")

    def rolled_out(self, *workloads: str, namespace: str, within: float = 120.0) -> None:
        """Wait until all pods of these workloads are ready. Raises ClusterError."""
        end = time.monotonic() + within
        for workload in workloads:
            left = max(1.0, end - time.monotonic())
            command = ("rollout", "status", workload, f"--namespace={namespace}", f"--timeout={left:.0f}s")
            try:
                self.kubectl(*command, within=left + 10)
            except ClusterError as error:
                raise ClusterError(f"{error}\n{self._diagnostics()}") from error

    def _diagnostics(self) -> str:
        """The pods and the Warning Events of the cluster, for error messages."""
        with contextlib.suppress(ClusterError):
            pods = self.kubectl("get", "pods", "--all-namespaces", "--output=wide")
            warnings = self.kubectl("get", "events", "--all-namespaces", "--field-selector=type=Warning")
            return f"{pods}\n{warnings}"
        return "kubectl gets no response"


@contextlib.contextmanager
def running_cluster(node: Node) -> Iterator[Cluster]:
    """Start a cluster on a node that has all images. The node is Ready and DNS works when the block starts."""
    programs = node_binaries()
    api = ApiServer(
        node.state / "api",
        address=NODE_ADDRESS,
        command_prefix=node.network.command(),
        run_in_network=node.network.inside,
        flags=_flags(node.state / "api" / "pki"),
    )
    api.pki.issue("apiserver-kubelet-client", "system:masters")
    cluster = Cluster(node, api, programs)
    try:
        api.start()
        started = _start_components(cluster)
        cluster.until(lambda: _node_ready(cluster, started), what="the node is Ready", within=90.0)
        cluster.kubectl("apply", "--filename", str(DNS))
        cluster.rolled_out("deployment/coredns", namespace="kube-system")
        yield cluster
    finally:
        api.end()


def _flags(pki: Path) -> dict[str, str]:
    return {
        "authorization-mode": "Node,RBAC",
        "disable-admission-plugins": "",
        "enable-admission-plugins": "NodeRestriction",
        "endpoint-reconciler-type": "lease",
        "kubelet-client-certificate": str(pki / "apiserver-kubelet-client.crt"),
        "kubelet-client-key": str(pki / "apiserver-kubelet-client.key"),
        "kubelet-certificate-authority": str(pki / "ca.crt"),
        "kubelet-preferred-address-types": "InternalIP",
    }


def _start_components(cluster: Cluster) -> list[Process]:
    node, api, programs = cluster.node, cluster.api, cluster.programs
    names = [x509.DNSName(NODE), x509.IPAddress(ip_address(NODE_ADDRESS))]
    api.pki.issue("kubelet", server=x509.SubjectAlternativeName(names))
    users = {
        "kubelet": api.kubeconfig_for(f"system:node:{NODE}", "system:nodes"),
        "kube-proxy": api.kubeconfig_for("system:kube-proxy"),
        "kube-controller-manager": api.kubeconfig_for("system:kube-controller-manager"),
        "kube-scheduler": api.kubeconfig_for("system:kube-scheduler"),
    }
    pki = api.pki.folder
    files = {
        "kubelet": configuration.kubelet(node.state, pki),
        "kube-proxy": configuration.kube_proxy(users["kube-proxy"]),
    }
    for name, document in files.items():
        (node.state / f"{name}.json").write_text(json.dumps(document))
    single = ("--leader-elect=false", "--authentication-skip-lookup=true", "--bind-address=127.0.0.1")
    flags = {
        "kubelet": (
            *(f"--config={node.state}/kubelet.json", f"--kubeconfig={users['kubelet']}", f"--node-ip={NODE_ADDRESS}"),
            *(f"--hostname-override={NODE}", "--root-dir=/var/lib/kubelet"),
        ),
        "kube-proxy": (f"--config={node.state}/kube-proxy.json",),
        "kube-controller-manager": (
            *(f"--kubeconfig={users['kube-controller-manager']}", *single, "--use-service-account-credentials=true"),
            *(f"--service-account-private-key-file={pki / 'accounts.key'}", f"--root-ca-file={pki / 'ca.crt'}"),
        ),
        "kube-scheduler": (f"--kubeconfig={users['kube-scheduler']}", *single),
    }
    return [node.start(name, str(programs / name), *words) for name, words in flags.items()]


def _node_ready(cluster: Cluster, started: Sequence[Process]) -> bool:
    for process in started:
        if not process.running:
            raise ClusterError(f"{process.log.stem} exited: {process.last_line()}")
    conditions = cluster.get("node", NODE)["status"]["conditions"]
    return any((condition["type"], condition["status"]) == ("Ready", "True") for condition in conditions)
