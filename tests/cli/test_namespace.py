"""`osm mesh list` and `osm namespace …` against a real API server: whole outputs, the troubleshooting page's lines."""

from collections.abc import Iterator

import pytest

from osm_probes.cli.namespace import NamespaceError, add_namespace
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.connect import connect
from osm_probes.kube.kind import Kind
from tests.cli.command import Said, osm
from tests.cli.installed import MERGE, deployment, enrolled, namespace, pod
from tests.kubernetes.apiserver import ApiServer, running_api_server
from tests.kubernetes.manifests import install

pytestmark = pytest.mark.kubernetes
PREFIX = "openservicemesh.io/"


NAMESPACES = [
    enrolled("osm-system", mesh="osm2"),
    namespace("osm-system-2"),
    enrolled("bookbuyer", mesh="osm2"),
    enrolled("bookstore", mesh="osm2"),
    namespace("shop"),
    namespace("other"),
]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """Two meshes; osm2 injects into the namespace of osm."""
    with running_api_server(tmp_path_factory.mktemp("kubernetes")) as server:
        install(
            server,
            [
                *NAMESPACES,
                deployment("osm-controller", home="osm-system", mesh="osm"),
                deployment("osm-controller", home="osm-system-2", mesh="osm2"),
                pod("osm-controller-5494bcffb6-qpjdv", app="osm-controller", home="osm-system", mesh="osm", port=1),
                pod("osm-controller-48fd3c810d-sornc", app="osm-controller", home="osm-system-2", mesh="osm2", port=1),
            ],
        )
        yield server


@pytest.fixture
def cluster(installed: ApiServer) -> ApiServer:
    """The same, with its namespaces as they were."""
    for each in NAMESPACES:
        installed.request("PUT", f"/api/v1/namespaces/{each['metadata']['name']}", each)
    return installed


def test_meshes_are_listed_in_five_columns(cluster: ApiServer) -> None:
    said = osm("mesh", "list", cluster=cluster)
    assert said == Said(
        0,
        "\n"
        "MESH NAME   NAMESPACE      CONTROLLER PODS                   VERSION   SMI SUPPORTED\n"
        "osm         osm-system     osm-controller-5494bcffb6-qpjdv   v0.8.0    Unknown\n"
        "osm2        osm-system-2   osm-controller-48fd3c810d-sornc   v0.8.0    Unknown\n",
        "",
    )


def test_without_a_mesh_that_is_said(own_api_server: ApiServer) -> None:
    assert osm("mesh", "list", cluster=own_api_server) == Said(0, "No osm mesh control planes found\n", "")
    assert osm("namespace", "list", cluster=own_api_server) == Said(0, "No namespaces in any mesh\n", "")


def test_the_page_finds_and_removes_the_wrong_enrolment(cluster: ApiServer) -> None:
    listing = ("namespace", "list", "--mesh-name", "osm", "--osm-namespace", "osm-system")
    warning = "osm-system (mesh osm) is enrolled in mesh osm2: run osm namespace remove osm-system --mesh-name osm2\n"
    assert osm(*listing, cluster=cluster) == Said(0, "No namespaces in mesh [osm]\n", warning)
    removing = ("namespace", "remove", "osm-system", "--mesh-name", "osm2", "--osm-namespace", "osm-system2")
    removed = "Namespace [osm-system] successfully removed from mesh [osm2]\n"
    assert osm(*removing, cluster=cluster) == Said(0, removed, "")
    again = "Namespace [osm-system] already does not belong to any mesh\n"
    assert osm(*removing, cluster=cluster) == Said(0, again, "")
    assert osm(*listing, cluster=cluster) == Said(0, "No namespaces in mesh [osm]\n", "")
    metadata = cluster.request("GET", "/api/v1/namespaces/osm-system")["metadata"]
    assert not [key for key in {**metadata["labels"], **metadata.get("annotations", {})} if key.startswith(PREFIX)]


def test_namespaces_are_listed_by_what_they_say(cluster: ApiServer) -> None:
    for each in (
        namespace("shop", labels={PREFIX + "monitored-by": "osm2"}),
        namespace("other", labels={PREFIX + "monitored-by": "osm2", PREFIX + "ignore": "true"}),
    ):
        cluster.request("PUT", f"/api/v1/namespaces/{each['metadata']['name']}", each)
    assert osm("namespace", "list", "--mesh-name", "osm2", cluster=cluster).out == (
        "NAMESPACE    MESH   SIDECAR-INJECTION\n"
        "bookbuyer    osm2   enabled\n"
        "bookstore    osm2   enabled\n"
        "osm-system   osm2   enabled\n"
        "other        osm2   disabled (ignored)\n"
        "shop         osm2   -\n"
    )


def test_namespaces_are_added_once(cluster: ApiServer) -> None:
    added = Said(0, "Namespace [shop] successfully added to mesh [osm]\n", "")
    assert osm("namespace", "add", "shop", cluster=cluster) == added
    again = Said(0, "Namespace [shop] has already been added to mesh [osm]\n", "")
    assert osm("namespace", "add", "shop", cluster=cluster) == again
    metadata = cluster.request("GET", "/api/v1/namespaces/shop")["metadata"]
    assert metadata["labels"][PREFIX + "monitored-by"] == "osm"
    assert metadata["annotations"][PREFIX + "sidecar-injection"] == "enabled"
    osm("namespace", "add", "other", "--mesh-name", "osm2", "--disable-sidecar-injection", cluster=cluster)
    assert osm("namespace", "list", "--mesh-name", "osm2", cluster=cluster).out.splitlines()[-1].split() == [
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
def test_what_cannot_be_done_is_said(
    cluster: ApiServer, words: tuple[str, ...], status: int, out: str, err: str
) -> None:
    assert osm("namespace", *words, cluster=cluster) == Said(status, out, err)


def test_an_ignored_namespace_is_not_added(cluster: ApiServer) -> None:
    osm("namespace", "ignore", "shop", cluster=cluster)
    assert osm("namespace", "add", "shop", cluster=cluster) == Said(1, "", "Error: Cannot add ignored namespace\n")


def test_programs_get_json_and_yaml(cluster: ApiServer) -> None:
    assert osm("namespace", "list", "--mesh-name", "osm2", "-o", "yaml", cluster=cluster).out == (
        "- namespace: bookbuyer\n  mesh: osm2\n  sidecarInjection: enabled\n"
        "- namespace: bookstore\n  mesh: osm2\n  sidecarInjection: enabled\n"
        "- namespace: osm-system\n  mesh: osm2\n  sidecarInjection: enabled\n"
    )
    assert osm("mesh", "list", "-o", "json", cluster=cluster).out.startswith('[\n  {\n    "name": "osm",\n')


async def test_a_namespace_that_another_mesh_takes_meanwhile_is_left_to_it(cluster: ApiServer) -> None:
    theirs = {"metadata": {"labels": {PREFIX + "monitored-by": "osm2"}}}

    class Interrupted(KubernetesClient):
        async def read(self, kind: Kind, name: str, *, namespace: str = "") -> bytes:
            seen = await super().read(kind, name, namespace=namespace)
            cluster.request("PATCH", f"/api/v1/namespaces/{name}", theirs, form=MERGE)
            return seen

    async with connect(str(cluster.kubeconfig)) as client:
        with pytest.raises(NamespaceError, match=r"Namespace belongs to mesh \[osm2\], not mesh \[osm\]"):
            await add_namespace(Interrupted(client._http), "shop", mesh="osm", injection="enabled")
