"""A cluster whose control plane really runs: programs as processes, and the pod objects by which they are found."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from osm_probes.cluster.ca_secret_content import content_of
from osm_probes.pki.authority import Authority
from tests.chart.render import MATRIX, rendered
from tests.cli.installed import pod, slice_of
from tests.cli.kubelet import NODE, Kubelet, running_kubelet
from tests.functional.programs import Program, running
from tests.kubernetes.apiserver import ApiServer, running_api_server
from tests.kubernetes.manifests import BOOKSTORE, documents, install, install_crds, permissions, template

HOME = "osm-system"
INJECTOR_NAME = "osm-injector.osm-system.svc"


@dataclass
class Live:
    """An API server, and the programs that run under it by the names of their pods."""

    cluster: ApiServer
    folder: Path
    kubelet: Kubelet
    programs: dict[str, Program] = field(default_factory=dict)

    @contextlib.contextmanager
    def controller(self, name: str = "osm-controller-0", **flags: str) -> Iterator[Program]:
        """A controller in its pod."""
        with self._running("osm-controller", name, "CONTROLLER_POD_NAME") as program:
            yield program

    @contextlib.contextmanager
    def injector(self, name: str = "osm-injector-0") -> Iterator[Program]:
        """An injector in its pod."""
        with self._running("osm-injector", name, "INJECTOR_POD_NAME", "--webhook-config-name=osm-webhook-osm") as made:
            self.kubelet.ports[name, 9090] = made.served_port
            yield made

    def authority(self) -> Authority:
        """The mesh's."""
        secret = self.cluster.request("GET", f"/api/v1/namespaces/{HOME}/secrets/osm-ca-bundle")
        content = content_of(json.dumps(secret).encode())
        return Authority.load(content.root_pem, content.key_pem)

    @contextlib.contextmanager
    def _running(self, app: str, name: str, variable: str, *flags: str) -> Iterator[Program]:
        user = self.cluster.kubeconfig_for(f"system:serviceaccount:{HOME}:{app}", "system:serviceaccounts")
        source = (
            *("--kubeconfig", str(user), "--mesh-name=osm", f"--osm-namespace={HOME}"),
            *("--ca-bundle-secret-name=osm-ca-bundle", *flags),
        )
        folder = self.folder / name
        folder.mkdir()
        with running(app, folder, source=source, environment={variable: name}) as program:
            document = pod(name, app=app, home=HOME, mesh="osm", port=program.http_port)
            install(self.cluster, [document])
            self.programs[name] = program
            self.kubelet.logs[name, app] = program.log
            try:
                yield program
            finally:
                del self.programs[name]
                self.cluster.delete(document)


@contextlib.contextmanager
def live_cluster(folder: Path) -> Iterator[Live]:
    """What the chart installs, without its programs' pods."""
    with running_api_server(folder / "kubernetes") as server:
        server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}})
        install_crds(server)
        rules = [*permissions("osm-controller"), *permissions("osm-injector")]
        chart = rendered(MATRIX["alone"])
        apps = ("osm-controller", "osm-injector")
        programs = [each for app in apps for part in ("deployment", "service") for each in chart[f"{app}-{part}"]]
        programs += [slice_of(app, home=HOME) for app in apps]
        shops = documents(BOOKSTORE)
        for each in shops:
            if each["kind"] == "Pod":
                each["spec"]["nodeName"] = NODE
        install(server, [*rules, *shops, *programs])
        install(server, template("osm-injector-webhook"))  # last: nobody answers for its Service
        with running_kubelet(server, folder=folder / "kubelet") as kubelet:
            yield Live(server, folder, kubelet)


@contextlib.contextmanager
def at_work(folder: Path) -> Iterator[Live]:
    """The same, with one pod of each program, both ready."""
    with live_cluster(folder) as made, made.controller() as controller, made.injector() as injector:
        controller.until_ready()
        injector.until_ready()
        yield made
