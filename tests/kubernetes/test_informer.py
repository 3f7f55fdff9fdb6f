"""The informer against a real API server that is killed, compacted, and started again."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.connect import connect
from osm_probes.kube.informer import Informer
from osm_probes.kube.kind import PODS, SERVICE_ACCOUNTS, Kind
from osm_probes.kube.list_options import ListOptions
from tests.kubernetes.apiserver import ApiServer, ApiServerError

pytestmark = pytest.mark.kubernetes
SPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}


class _Object(msgspec.Struct):
    metadata: dict[str, Any]


def label(content: bytes) -> str | None:
    """An object's label `is`; "bad" is invalid, "none" is left out."""
    value = str(msgspec.json.decode(content, type=_Object).metadata.get("labels", {}).get("is", ""))
    if value == "bad":
        raise OsmError("labels.is: bad")
    return None if value == "none" else value


def account(name: str, *, value: str = "there") -> dict[str, Any]:
    """A ServiceAccount in the namespace shop."""
    metadata = {"name": name, "namespace": "shop", "labels": {"is": value}}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


class Observed:
    """A running informer, and how to wait for its changes."""

    def __init__(self, informer: Informer[str], wake: asyncio.Event) -> None:
        self.informer = informer
        self._wake = wake

    @property
    def known(self) -> dict[str, str]:
        """The label `is` of each object, by name."""
        return {name: value for (_, name), value in self.informer.objects.items()}

    async def until(self, condition: Callable[[], object], *, within: float = 10) -> None:
        """Wait for notifications until the condition is true."""
        async with asyncio.timeout(within):
            while not condition():
                self._wake.clear()
                await self._wake.wait()


@asynccontextmanager
async def watching(server: ApiServer, kind: Kind = SERVICE_ACCOUNTS) -> AsyncGenerator[Observed, None]:
    """An informer on the namespace shop."""
    wake = asyncio.Event()
    async with connect(str(server.kubeconfig)) as client:
        informer = Informer(client, ListOptions(kind, namespace="shop"), decode=label, notify=wake.set)
        async with background_tasks(watch=informer.run()):
            yield Observed(informer, wake)


async def request(server: ApiServer, method: str, path: str, body: object = None) -> None:
    """Send a request as administrator, in a thread."""
    content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
    await asyncio.to_thread(server.request, method, path, body, content_type=content_type)


ACCOUNTS = "/api/v1/namespaces/shop/serviceaccounts"


@pytest.fixture
def server(own_api_server: ApiServer) -> ApiServer:
    """An API server that the test may break, with the namespace shop."""
    own_api_server.create(SPACE)
    return own_api_server


@pytest.fixture
def shared(api_server: ApiServer) -> Iterator[ApiServer]:
    """The shared API server with the namespace shop, which is emptied after the test."""
    with contextlib.suppress(ApiServerError):
        api_server.create(SPACE)
    yield api_server
    for kind in ("serviceaccounts", "secrets"):
        api_server.request("DELETE", f"/api/v1/namespaces/shop/{kind}")


async def test_changes_are_seen_and_an_invalid_object_keeps_its_last_valid_form(shared: ApiServer) -> None:
    async with watching(shared) as observed:
        await observed.until(lambda: observed.informer.synced)
        await request(shared, "POST", ACCOUNTS, account("a"))
        await request(shared, "POST", ACCOUNTS, account("b", value="none"))
        await observed.until(lambda: observed.known == {"a": "there"})
        change = {"metadata": {"labels": {"is": "bad"}}}
        await request(shared, "PATCH", f"{ACCOUNTS}/a", change)
        await observed.until(lambda: observed.informer.errors)
        assert observed.known == {"a": "there"}
        assert list(observed.informer.errors.values()) == ["ServiceAccount shop/a: labels.is: bad"]
        await request(shared, "DELETE", f"{ACCOUNTS}/a")
        await observed.until(lambda: not observed.known)
        assert not observed.informer.errors


async def test_100_changes_during_an_outage_are_all_seen_after_it(server: ApiServer) -> None:
    for number in range(20):
        server.create(account(f"old-{number}"))
    async with watching(server) as observed:
        await observed.until(lambda: len(observed.known) == 20)
        server.kill()
        await observed.until(lambda: observed.informer.problem)
        assert len(observed.known) == 20, "known objects stay during an outage"
        server.start()
        for number in range(80):
            server.create(account(f"new-{number}"))
        for number in range(20):
            server.delete(account(f"old-{number}"))
        await observed.until(lambda: set(observed.known) == {f"new-{number}" for number in range(80)}, within=20)
        await observed.until(lambda: not observed.informer.problem)


async def test_a_deletion_before_a_compaction_is_seen_by_a_new_list(server: ApiServer) -> None:
    for name in ("stays", "goes"):
        server.create(account(name))
    async with watching(server) as observed:
        await observed.until(lambda: len(observed.known) == 2)
        server.kill()
        await observed.until(lambda: observed.informer.problem)
        server.delete_from_etcd("serviceaccounts/shop/goes")
        server.compact()
        await asyncio.to_thread(server.start)
        await observed.until(lambda: observed.known == {"stays": "there"}, within=20)


async def test_objects_stay_while_the_api_server_hangs_and_are_updated_afterwards(server: ApiServer) -> None:
    server.create(account("a"))
    async with watching(server) as observed:
        await observed.until(lambda: len(observed.known) == 1)
        server.hang()
        await asyncio.sleep(1.0)
        assert observed.known == {"a": "there"}
        assert observed.informer.age > 0.9
        server.resume()
        await request(server, "POST", ACCOUNTS, account("b"))
        await observed.until(lambda: len(observed.known) == 2)


async def test_a_missing_permission_is_named_until_it_is_granted(shared: ApiServer) -> None:
    wake = asyncio.Event()
    kubeconfig = str(shared.kubeconfig_for("nobody"))
    async with connect(kubeconfig) as client:
        informer = Informer(client, ListOptions(PODS, namespace="shop"), decode=label, notify=wake.set)
        async with background_tasks(watch=informer.run()):
            observed = Observed(informer, wake)
            await observed.until(lambda: informer.problem)
            assert 'must be allowed to list and watch pods of API group "" in namespace shop' in str(informer.problem)
            assert 'User "nobody" cannot list resource "pods"' in str(informer.problem)
            assert not informer.synced
            for document in _grant("nobody"):
                shared.create(document)
            await observed.until(lambda: informer.synced, within=20)
            assert not informer.problem


def _grant(user: str) -> list[dict[str, Any]]:
    group = "rbac.authorization.k8s.io"
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]
    role = {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": user}, "rules": rules}
    subject = {"kind": "User", "name": user, "apiGroup": group}
    reference = {"kind": "ClusterRole", "name": user, "apiGroup": group}
    binding = {"kind": "ClusterRoleBinding", "roleRef": reference, "subjects": [subject]}
    return [role, {"apiVersion": f"{group}/v1", "metadata": {"name": user}, **binding}]


async def test_an_optional_kind_is_an_empty_list_until_it_is_served(shared: ApiServer) -> None:
    kind = Kind("example.com", "v1", "examples", "Example", optional=True)
    async with watching(shared, kind) as observed:
        await observed.until(lambda: observed.informer.synced)
        assert observed.known == {}
        await asyncio.to_thread(shared.create, _definition())
        path = "/apis/example.com/v1/namespaces/shop/examples"
        example = {
            "apiVersion": "example.com/v1",
            "kind": "Example",
            "metadata": {"name": "one", "labels": {"is": "new"}},
        }
        async with asyncio.timeout(20):
            while not await _succeeds(shared, path, example):  # noqa: ASYNC110 - an API server does not notify when it serves a new kind
                await asyncio.sleep(0.2)
        await observed.until(lambda: observed.known == {"one": "new"}, within=20)
        await request(shared, "DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/examples.example.com")
        await observed.until(lambda: observed.known == {}, within=20)


async def _succeeds(server: ApiServer, path: str, body: object) -> bool:
    try:
        await request(server, "POST", path, body)
    except Exception:
        return False
    return True


def _definition() -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "examples.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "examples", "kind": "Example"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


async def test_only_metadata_is_sent_if_only_metadata_is_requested(shared: ApiServer) -> None:
    contents: list[bytes] = []

    def keep(content: bytes) -> str:
        contents.append(content)
        return ""

    async with connect(str(shared.kubeconfig)) as client:
        wake = asyncio.Event()
        options = ListOptions(Kind("", "v1", "secrets", "Secret"), namespace="shop", metadata=True)
        shared.create(_secret("listed"))
        informer = Informer(client, options, decode=keep, notify=wake.set)
        async with background_tasks(watch=informer.run()):
            observed = Observed(informer, wake)
            await observed.until(lambda: informer.synced)
            await asyncio.to_thread(shared.create, _secret("watched"))
            await observed.until(lambda: len(informer.objects) == 2)
    assert len(contents) == 2
    assert all(b"aGlkZGVu" not in content for content in contents)


def _secret(name: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"key": "aGlkZGVu"}}
