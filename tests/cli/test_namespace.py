"""`osm mesh list` and `osm namespace …` against a real API server: complete outputs, as in docs/troubleshooting.md."""

from collections.abc import Iterator

import pytest

from osm_probes.cli.namespace import NamespaceError, add_namespace
from osm_probes.kube.connect import connect
from osm_probes.kube.kind import Kind
from tests.cli.command_result import CommandResult, run_osm
from tests.cli.control_plane_manifests import MERGE, deployment, enrolled_namespace, namespace, pod
from tests.kubernetes.apiserver import ApiServer, running_api_server
from tests.kubernetes.manifests import bootstrap_permissions, install

pytestmark = pytest.mark.kubernetes
PREFIX = "openservicemesh.io/"


NAMESPACES = [
    enrolled_namespace("osm-system", mesh="osm2"),
    namespace("osm-system-2"),
    enrolled_namespace("bookbuyer", mesh="osm2"),
    enrolled_namespace("bookstore", mesh="osm2"),
    namespace("shop"),
    namespace("other"),
]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A cluster with two meshes; osm2 injects sidecars into the namespace of osm."""
    with running_api_server(tmp_path_factory.mktemp("kubernetes")) as server:
        install(
            server,
            [
                *NAMESPACES,
                deployment("osm-controller", namespace="osm-system", mesh="osm"),
                deployment("osm-controller", namespace="osm-system-2", mesh="osm2"),
                pod(
                    "osm-controller-5494bcffb6-qpjdv", app="osm-controller", namespace="osm-system", mesh="osm", port=1
                ),
                pod(
                    "osm-controller-48fd3c810d-sornc",
                    app="osm-controller",
                    namespace="osm-system-2",
                    mesh="osm2",
                    port=1,
                ),
            ],
        )
        yield server


@pytest.fixture
def cluster(installed: ApiServer) -> ApiServer:
    """The same cluster, with its original namespaces."""
    for document in NAMESPACES:
        installed.request("PUT", f"/api/v1/namespaces/{document['metadata']['name']}", document)
    return installed


def test_meshes_are_listed_in_five_columns(cluster: ApiServer) -> None:
    result = run_osm("mesh", "list", cluster=cluster)
    assert result == CommandResult(
        0,
        "\n"
        "MESH NAME   NAMESPACE      CONTROLLER PODS                   VERSION   SMI SUPPORTED\n"
        "osm         osm-system     osm-controller-5494bcffb6-qpjdv   v0.8.0    Unknown\n"
        "osm2        osm-system-2   osm-controller-48fd3c810d-sornc   v0.8.0    Unknown\n",
        "",
    )


def test_a_cluster_without_meshes_has_empty_lists(own_api_server: ApiServer) -> None:
    assert run_osm("mesh", "list", cluster=own_api_server) == CommandResult(0, "No osm mesh control planes found\n", "")
    assert run_osm("namespace", "list", cluster=own_api_server) == CommandResult(0, "No namespaces in any mesh\n", "")


def test_the_enrolment_of_a_control_planes_namespace_is_found_and_removed(cluster: ApiServer) -> None:
    listing = ("namespace", "list", "--mesh-name", "osm", "--osm-namespace", "osm-system")
    warning = "osm-system (mesh osm) is enrolled in mesh osm2: run osm namespace remove osm-system --mesh-name osm2\n"
    assert run_osm(*listing, cluster=cluster) == CommandResult(0, "No namespaces in mesh [osm]\n", warning)
    removing = ("namespace", "remove", "osm-system", "--mesh-name", "osm2", "--osm-namespace", "osm-system2")
    removed = "Namespace [osm-system] successfully removed from mesh [osm2]\n"
    assert run_osm(*removing, cluster=cluster) == CommandResult(0, removed, "")
    again = "Namespace [osm-system] already does not belong to any mesh\n"
    assert run_osm(*removing, cluster=cluster) == CommandResult(0, again, "")
    assert run_osm(*listing, cluster=cluster) == CommandResult(0, "No namespaces in mesh [osm]\n", "")
    metadata = cluster.request("GET", "/api/v1/namespaces/osm-system")["metadata"]
    assert not [key for key in {**metadata["labels"], **metadata.get("annotations", {})} if key.startswith(PREFIX)]


def test_namespaces_are_listed_with_their_injection_annotation(cluster: ApiServer) -> None:
    for document in (
        namespace("shop", labels={PREFIX + "monitored-by": "osm2"}),
        namespace("other", labels={PREFIX + "monitored-by": "osm2", PREFIX + "ignore": "true"}),
    ):
        cluster.request("PUT", f"/api/v1/namespaces/{document['metadata']['name']}", document)
    assert run_osm("namespace", "list", "--mesh-name", "osm2", cluster=cluster).out == (
        "NAMESPACE    MESH   SIDECAR-INJECTION\n"
        "bookbuyer    osm2   enabled\n"
        "bookstore    osm2   enabled\n"
        "osm-system   osm2   enabled\n"
        "other        osm2   disabled (ignored)\n"
        "shop         osm2   -\n"
    )


def test_a_namespace_is_added_only_once(cluster: ApiServer) -> None:
    added = CommandResult(0, "Namespace [shop] successfully added to mesh [osm]\n", "")
    assert run_osm("namespace", "add", "shop", cluster=cluster) == added
    again = CommandResult(0, "Namespace [shop] has already been added to mesh [osm]\n", "")
    assert run_osm("namespace", "add", "shop", cluster=cluster) == again
    metadata = cluster.request("GET", "/api/v1/namespaces/shop")["metadata"]
    assert metadata["labels"][PREFIX + "monitored-by"] == "osm"
    assert metadata["annotations"][PREFIX + "sidecar-injection"] == "enabled"
    run_osm("namespace", "add", "other", "--mesh-name", "osm2", "--disable-sidecar-injection", cluster=cluster)
    assert run_osm("namespace", "list", "--mesh-name", "osm2", cluster=cluster).out.splitlines()[-1].split() == [
        *("other", "osm2", "disabled")
    ]


@pytest.mark.parametrize(
    ("words", "status", "out", "err"),
    [
        (
            ("add", "shop", "--mesh-name", "no"),
            1,
            "",
            "Error: mesh [no] does not exist, please specify another mesh using --mesh-name or create a new mesh\n",
        ),
        (
            ("add", "osm-system-2"),
            0,
            "Namespace [osm-system-2] already has [osm-controller] installed and cannot be added to mesh [osm]\n",
            "",
        ),
        (
            ("add", "bookstore"),
            1,
            "",
            "Error: Namespace belongs to mesh [osm2], not mesh [osm]. Please specify the correct mesh\n",
        ),
        (
            ("add", "nowhere"),
            1,
            "",
            'Error: Could not add namespace [nowhere] to mesh [osm]: namespaces "nowhere" not found\n',
        ),
        (
            ("remove", "bookstore", "shop", "bookbuyer"),
            1,
            "Namespace [shop] already does not belong to any mesh\n",
            2 * "Error: Namespace belongs to mesh [osm2], not mesh [osm]. Please specify the correct mesh\n",
        ),
        (
            ("remove", "bookstore", "bookbuyer", "--mesh-name", "osm2"),
            0,
            "Namespace [bookstore] successfully removed from mesh [osm2]\n"
            "Namespace [bookbuyer] successfully removed from mesh [osm2]\n",
            "",
        ),
        (("ignore", "shop"), 0, "Successfully configured namespace [shop] to be ignored\n", ""),
        (
            ("ignore", "nowhere"),
            1,
            "",
            'Error: Failed to configure namespace [nowhere] to be ignored: namespaces "nowhere" not found\n',
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_each_command_prints_its_result_or_error(
    cluster: ApiServer, words: tuple[str, ...], status: int, out: str, err: str
) -> None:
    assert run_osm("namespace", *words, cluster=cluster) == CommandResult(status, out, err)


def test_an_ignored_namespace_is_not_added(cluster: ApiServer) -> None:
    run_osm("namespace", "ignore", "shop", cluster=cluster)
    assert run_osm("namespace", "add", "shop", cluster=cluster) == CommandResult(
        1, "", "Error: Cannot add ignored namespace\n"
    )


def test_lists_are_available_as_json_and_yaml(cluster: ApiServer) -> None:
    assert run_osm("namespace", "list", "--mesh-name", "osm2", "-o", "yaml", cluster=cluster).out == (
        "- namespace: bookbuyer\n  mesh: osm2\n  sidecarInjection: enabled\n"
        "- namespace: bookstore\n  mesh: osm2\n  sidecarInjection: enabled\n"
        "- namespace: osm-system\n  mesh: osm2\n  sidecarInjection: enabled\n"
    )
    assert run_osm("mesh", "list", "-o", "json", cluster=cluster).out.startswith('[\n  {\n    "name": "osm",\n')


async def test_a_namespace_that_another_mesh_takes_during_the_command_is_not_added(
    cluster: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_mesh = {"metadata": {"labels": {PREFIX + "monitored-by": "osm2"}}}
    async with connect(str(cluster.kubeconfig)) as client:
        read = client.read

        async def read_before_the_change(kind: Kind, name: str) -> bytes:
            content = await read(kind, name)
            cluster.request("PATCH", f"/api/v1/namespaces/{name}", other_mesh, content_type=MERGE)
            return content

        monkeypatch.setattr(client, "read", read_before_the_change)
        with pytest.raises(NamespaceError, match=r"Namespace belongs to mesh \[osm2\], not mesh \[osm\]"):
            await add_namespace(client, "shop", mesh="osm", injection="enabled")


def bindings(cluster: ApiServer, name: str) -> dict[str, str]:
    """The roles and service accounts that are bound in a namespace, by the binding's name."""
    items = cluster.request("GET", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{name}/rolebindings")["items"]
    return {
        item["metadata"]["name"]: f"{item['roleRef']['name']} {item['subjects'][0]['namespace']}/"
        f"{item['subjects'][0]['name']}"
        for item in items
    }


@pytest.fixture
def roles(cluster: ApiServer) -> Iterator[list[str]]:
    """The chart's ClusterRoles for Secrets of the mesh's namespaces."""
    documents = [
        document
        for app in ("osm-controller", "osm-injector")
        for document in bootstrap_permissions(app)
        if document["kind"] == "ClusterRole"
    ]
    install(cluster, documents)
    yield [document["metadata"]["name"] for document in documents]
    for document in documents:
        cluster.delete(document)


BOUND = {
    "osm-controller-bootstrap-secrets-osm-system": (
        "osm-controller-bootstrap-secrets-osm-system osm-system/osm-controller"
    ),
    "osm-injector-bootstrap-secrets-osm-system": "osm-injector-bootstrap-secrets-osm-system osm-system/osm-injector",
}


@pytest.mark.usefixtures("roles")
def test_a_namespace_gives_the_control_plane_its_permissions_as_long_as_it_is_in_the_mesh(cluster: ApiServer) -> None:
    assert run_osm("namespace", "add", "shop", cluster=cluster).status == 0
    assert bindings(cluster, "shop") == BOUND
    foreign = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "foreign", "namespace": "shop", "labels": {"app": "osm-controller"}},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "x", "namespace": "shop"}],
    }
    cluster.create(foreign)
    removed = CommandResult(0, "Namespace [shop] successfully removed from mesh [osm]\n", "")
    assert run_osm("namespace", "remove", "shop", cluster=cluster) == removed
    assert set(bindings(cluster, "shop")) == {"foreign"}
    cluster.delete(foreign)


@pytest.mark.usefixtures("roles")
def test_adding_a_namespace_that_has_only_the_label_completes_it(cluster: ApiServer) -> None:
    document = namespace("shop", labels={PREFIX + "monitored-by": "osm"})
    cluster.request("PUT", "/api/v1/namespaces/shop", document)
    again = CommandResult(0, "Namespace [shop] has already been added to mesh [osm]\n", "")
    for _ in range(2):
        assert run_osm("namespace", "add", "shop", cluster=cluster) == again
        assert bindings(cluster, "shop") == BOUND
    run_osm("namespace", "remove", "shop", cluster=cluster)


@pytest.mark.usefixtures("roles")
def test_a_namespace_of_another_mesh_gives_no_permissions(cluster: ApiServer) -> None:
    assert run_osm("namespace", "add", "bookstore", cluster=cluster).status == 1
    assert bindings(cluster, "bookstore") == {}
