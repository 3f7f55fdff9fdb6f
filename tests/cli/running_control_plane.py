"""A control plane whose programs run as processes, with the pod objects through which commands find them."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from osm_probes.cluster.ca_secret_content import decode_ca_secret
from osm_probes.pki.authority import Authority
from tests.chart.render import MATRIX, rendered
from tests.cli.control_plane_manifests import endpoint_slice, pod
from tests.cli.fake_kubelet import NODE, FakeKubelet, running_kubelet
from tests.functional.programs import Program, running
from tests.kubernetes.apiserver import ApiServer, running_api_server
from tests.kubernetes.manifests import BOOKSTORE, documents, install, install_crds, permissions, template

NAMESPACE = "osm-system"


@dataclass
class RunningControlPlane:
    """An API server, a fake kubelet, and the programs by the names of their pods."""

    cluster: ApiServer
    folder: Path
    kubelet: FakeKubelet
    programs: dict[str, Program] = field(default_factory=dict)

    @contextlib.contextmanager
    def controller(self, name: str = "osm-controller-0") -> Iterator[Program]:
        """Run a controller and create its pod object."""
        with self._running("osm-controller", name, "CONTROLLER_POD_NAME") as program:
            yield program

    @contextlib.contextmanager
    def injector(self, name: str = "osm-injector-0") -> Iterator[Program]:
        """Run an injector and create its pod object."""
        flag = "--webhook-config-name=osm-webhook-osm"
        with self._running("osm-injector", name, "INJECTOR_POD_NAME", flag) as program:
            self.kubelet.ports[name, 9090] = program.served_port
            yield program

    def authority(self) -> Authority:
        """The mesh's CA."""
        secret = self.cluster.request("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets/osm-ca-bundle")
        content = decode_ca_secret(json.dumps(secret).encode())
        return Authority.load(content.root_pem, content.key_pem)

    @contextlib.contextmanager
    def _running(self, app: str, name: str, variable: str, *flags: str) -> Iterator[Program]:
        user = self.cluster.kubeconfig_for(f"system:serviceaccount:{NAMESPACE}:{app}", "system:serviceaccounts")
        source = (
            *("--kubeconfig", str(user), "--mesh-name=osm", f"--osm-namespace={NAMESPACE}"),
            *("--ca-bundle-secret-name=osm-ca-bundle", *flags),
        )
        folder = self.folder / name
        folder.mkdir()
        with running(app, folder, source=source, environment={variable: name}) as program:
            document = pod(name, app=app, namespace=NAMESPACE, mesh="osm", port=program.http_port)
            install(self.cluster, [document])
            self.programs[name] = program
            self.kubelet.logs[name, app] = program.log
            if app == "osm-controller":
                self.kubelet.ports[name, 9092] = program.debug_port
            try:
                yield program
            finally:
                del self.programs[name]
                self.cluster.delete(document)


@contextlib.contextmanager
def installed_chart(folder: Path) -> Iterator[RunningControlPlane]:
    """Run a cluster with all objects of the chart and of the bookstore example, but without running programs."""
    with running_api_server(folder / "kubernetes") as server:
        server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        install_crds(server)
        rbac = [*permissions("osm-controller"), *permissions("osm-injector")]
        chart = rendered(MATRIX["alone"])
        apps = ("osm-controller", "osm-injector")
        programs = [
            document for app in apps for part in ("deployment", "service") for document in chart[f"{app}-{part}"]
        ]
        programs += [endpoint_slice(app, namespace=NAMESPACE) for app in apps]
        bookstore = documents(BOOKSTORE)
        for document in bookstore:
            if document["kind"] == "Pod":
                document["spec"]["nodeName"] = NODE
        install(server, [*rbac, *bookstore, *programs])
        # The webhook comes last: its Service does not respond yet, so no more pods could be created.
        install(server, template("osm-injector-webhook"))
        with running_kubelet(server, folder=folder / "kubelet") as kubelet:
            yield RunningControlPlane(server, folder, kubelet)


@contextlib.contextmanager
def running_control_plane(folder: Path) -> Iterator[RunningControlPlane]:
    """Run a cluster with the chart, one controller and one injector; both are ready."""
    with installed_chart(folder) as made, made.controller() as controller, made.injector() as injector:
        controller.until_ready()
        injector.until_ready()
        yield made
