"""The mesh that is translated from the objects of a real API server."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.connect import connect
from osm_probes.mesh.mesh import Mesh
from osm_probes.sources.folder_source import read_mesh
from osm_probes.sources.kubernetes_source import KubernetesSource
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.manifests import BOOKSTORE, documents, install, install_crds

pytestmark = pytest.mark.kubernetes
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "osm-system"}}
# Any user who may create policies in a namespace can create it.
DEEP_ROUTE_GROUP = b"""{
    "apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "HTTPRouteGroup",
    "metadata": {"name": "deep", "namespace": "bookstore"},
    "spec": {"matches": [{"name": "a", "pathRegex": "/a"}], "unknown": %b}
}""" % (b"[" * 3000 + b"]" * 3000)


@asynccontextmanager
async def running_source(server: ApiServer) -> AsyncGenerator[KubernetesSource, None]:
    """A running source."""
    async with connect(str(server.kubeconfig)) as client:
        source = KubernetesSource(client, mesh_name="osm", osm_namespace="osm-system", config_name="osm-mesh-config")
        async with background_tasks(source=source.run()):
            yield source


async def until(source: KubernetesSource, mesh: Mesh, *, within: float = 15) -> None:
    """Wait for this mesh; a failure shows the difference."""
    try:
        async with asyncio.timeout(within):
            while source.mesh.value != mesh:
                await source.mesh.after(source.mesh.version)
    except TimeoutError:
        assert source.mesh.value == mesh


async def test_the_same_manifests_make_the_same_mesh_from_a_folder_and_from_a_cluster(
    own_api_server: ApiServer,
) -> None:
    server, expected = own_api_server, read_mesh(BOOKSTORE, mesh_name="osm")
    assert expected.proxies
    server.create(NAMESPACE)
    async with running_source(server) as source:
        # The mesh is known before the MeshConfig CRD is installed; its settings are the defaults.
        await until(source, Mesh())
        await asyncio.to_thread(install_crds, server)
        await asyncio.to_thread(install, server, documents(BOOKSTORE))
        await until(source, expected)
        server.kill()
        async with asyncio.timeout(5):
            while not source.problem.value:
                await source.problem.after(source.problem.version)
        assert "cannot be watched" in str(source.problem.value)
        await asyncio.to_thread(server.start)
        pod = next(document for document in documents(BOOKSTORE) if document["kind"] == "Pod")
        await asyncio.to_thread(server.delete, pod)
        async with asyncio.timeout(15):
            while source.mesh.value is None or len(source.mesh.value.proxies) != len(expected.proxies) - 1:
                await source.mesh.after(source.mesh.version)
        async with asyncio.timeout(15):
            while source.problem.value:
                await source.problem.after(source.problem.version)


async def test_the_mesh_is_unknown_until_every_kind_is_listed(api_server: ApiServer) -> None:
    async with connect(str(api_server.kubeconfig_for("nobody"))) as client:
        source = KubernetesSource(client, mesh_name="osm", osm_namespace="osm-system", config_name="osm-mesh-config")
        async with background_tasks(source=source.run()):
            async with asyncio.timeout(10):
                while "forbidden" not in str(source.problem.value):
                    await source.problem.after(source.problem.version)
            assert source.mesh.value is None
            assert set(source.ages()) >= {"pods", "services", "endpointslices", "meshconfigs"}


async def test_an_object_of_any_depth_does_not_end_the_watch(own_api_server: ApiServer) -> None:
    server = own_api_server
    server.create(NAMESPACE)
    await asyncio.to_thread(install_crds, server)
    await asyncio.to_thread(install, server, documents(BOOKSTORE))
    expected = read_mesh(BOOKSTORE, mesh_name="osm")
    async with running_source(server) as source:
        await until(source, expected)
        # The CRD keeps fields that it does not know, and the API server takes 10,000 levels.
        path = "/apis/specs.smi-spec.io/v1alpha4/namespaces/bookstore/httproutegroups"
        await asyncio.to_thread(server.create_from_json, path, DEEP_ROUTE_GROUP)
        pod = next(document for document in documents(BOOKSTORE) if document["kind"] == "Pod")
        await asyncio.to_thread(server.delete, pod)
        async with asyncio.timeout(15):
            while source.mesh.value is None or len(source.mesh.value.proxies) != len(expected.proxies) - 1:
                await source.mesh.after(source.mesh.version)
        assert not source.problem.value
    async with running_source(server) as restarted:
        async with asyncio.timeout(15):
            while restarted.mesh.value is None:
                await restarted.mesh.after(restarted.mesh.version)
        assert not restarted.problem.value
