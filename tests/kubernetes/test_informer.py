"""The informer against a real API server that goes away, forgets, and comes back."""

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
    """Of an object the label `is`; "bad" cannot be used, "none" is of no concern."""
    found = str(msgspec.json.decode(content, type=_Object).metadata.get("labels", {}).get("is", ""))
    if found == "bad":
        raise OsmError("labels.is: bad")
    return None if found == "none" else found


def account(name: str, *, value: str = "there") -> dict[str, Any]:
    """A small object."""
    metadata = {"name": name, "namespace": "shop", "labels": {"is": value}}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


class Seen:
    """A running informer, and waiting for what it knows."""

    def __init__(self, informer: Informer[str], wake: asyncio.Event) -> None:
        self.informer = informer
        self._wake = wake

    @property
    def known(self) -> dict[str, str]:
        """Label by name."""
        return {name: value for (_, name), value in self.informer.objects.items()}

    async def until(self, true: Callable[[], object], *, within: float = 10) -> None:
        """Wait for it; the informer says when to look."""
        async with asyncio.timeout(within):
            while not true():
                self._wake.clear()
                await self._wake.wait()


@asynccontextmanager
async def watching(server: ApiServer, kind: Kind = SERVICE_ACCOUNTS) -> AsyncGenerator[Seen, None]:
    """An informer about the namespace shop."""
    wake = asyncio.Event()
    async with connect(str(server.kubeconfig)) as client:
        informer = Informer(client, ListOptions(kind, namespace="shop"), decode=label, notify=wake.set)
        async with background_tasks(watch=informer.run()):
            yield Seen(informer, wake)


async def ask(server: ApiServer, method: str, path: str, body: object = None) -> None:
    """An administrator's request, beside the event loop."""
    form = "application/merge-patch+json" if method == "PATCH" else "application/json"
    await asyncio.to_thread(server.request, method, path, body, form=form)


ACCOUNTS = "/api/v1/namespaces/shop/serviceaccounts"


@pytest.fixture
def server(own_api_server: ApiServer) -> ApiServer:
    """An API server that the test may break, with the namespace shop."""
    own_api_server.create(SPACE)
    return own_api_server


@pytest.fixture
def shared(api_server: ApiServer) -> Iterator[ApiServer]:
    """The shared API server, with the namespace shop, in which nothing is left."""
    with contextlib.suppress(ApiServerError):
        api_server.create(SPACE)
    yield api_server
    for kind in ("serviceaccounts", "secrets"):
        api_server.request("DELETE", f"/api/v1/namespaces/shop/{kind}")


async def test_what_happens_is_known_and_what_cannot_be_used_keeps_its_last_good_form(shared: ApiServer) -> None:
    async with watching(shared) as seen:
        await seen.until(lambda: seen.informer.synced)
        await ask(shared, "POST", ACCOUNTS, account("a"))
        await ask(shared, "POST", ACCOUNTS, account("b", value="none"))
        await seen.until(lambda: seen.known == {"a": "there"})
        change = {"metadata": {"labels": {"is": "bad"}}}
        await ask(shared, "PATCH", f"{ACCOUNTS}/a", change)
        await seen.until(lambda: seen.informer.errors)
        assert seen.known == {"a": "there"}
        assert list(seen.informer.errors.values()) == ["ServiceAccount shop/a: labels.is: bad"]
        await ask(shared, "DELETE", f"{ACCOUNTS}/a")
        await seen.until(lambda: not seen.known)
        assert not seen.informer.errors


async def test_100_changes_during_an_outage_are_all_known_after_it(server: ApiServer) -> None:
    for number in range(20):
        server.create(account(f"old-{number}"))
    async with watching(server) as seen:
        await seen.until(lambda: len(seen.known) == 20)
        server.kill()
        await seen.until(lambda: seen.informer.trouble)
        assert len(seen.known) == 20, "what is known stays"
        server.start()
        for number in range(80):
            server.create(account(f"new-{number}"))
        for number in range(20):
            server.delete(account(f"old-{number}"))
        await seen.until(lambda: set(seen.known) == {f"new-{number}" for number in range(80)}, within=20)
        await seen.until(lambda: not seen.informer.trouble)


async def test_after_a_compaction_a_new_list_tells_what_was_deleted(server: ApiServer) -> None:
    for name in ("stays", "goes"):
        server.create(account(name))
    async with watching(server) as seen:
        await seen.until(lambda: len(seen.known) == 2)
        server.kill()
        await seen.until(lambda: seen.informer.trouble)
        server.remove("serviceaccounts/shop/goes")
        server.compact()
        await asyncio.to_thread(server.start)
        await seen.until(lambda: seen.known == {"stays": "there"}, within=20)


async def test_a_hung_api_server_changes_nothing_and_is_caught_up_with(server: ApiServer) -> None:
    server.create(account("a"))
    async with watching(server) as seen:
        await seen.until(lambda: len(seen.known) == 1)
        server.hang()
        await asyncio.sleep(1.0)
        assert seen.known == {"a": "there"}
        assert seen.informer.age > 0.9
        server.resume()
        await ask(server, "POST", ACCOUNTS, account("b"))
        await seen.until(lambda: len(seen.known) == 2)


async def test_what_is_forbidden_names_the_missing_permission_until_it_is_granted(shared: ApiServer) -> None:
    wake = asyncio.Event()
    kubeconfig = str(shared.kubeconfig_for("nobody"))
    async with connect(kubeconfig) as client:
        informer = Informer(client, ListOptions(PODS, namespace="shop"), decode=label, notify=wake.set)
        async with background_tasks(watch=informer.run()):
            seen = Seen(informer, wake)
            await seen.until(lambda: informer.trouble)
            assert 'must be allowed to list and watch pods of API group "" in namespace shop' in informer.trouble
            assert 'User "nobody" cannot list resource "pods"' in informer.trouble
            assert not informer.synced
            for each in _grant("nobody"):
                shared.create(each)
            await seen.until(lambda: informer.synced, within=20)
            assert informer.trouble == ""


def _grant(user: str) -> list[dict[str, Any]]:
    group = "rbac.authorization.k8s.io"
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]
    role = {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": user}, "rules": rules}
    subject = {"kind": "User", "name": user, "apiGroup": group}
    reference = {"kind": "ClusterRole", "name": user, "apiGroup": group}
    binding = {"kind": "ClusterRoleBinding", "roleRef": reference, "subjects": [subject]}
    return [role, {"apiVersion": f"{group}/v1", "metadata": {"name": user}, **binding}]


async def test_a_kind_that_does_not_exist_is_an_empty_list_until_it_does(shared: ApiServer) -> None:
    kind = Kind("example.com", "v1", "things", "Thing", optional=True)
    async with watching(shared, kind) as seen:
        await seen.until(lambda: seen.informer.synced)
        assert seen.known == {}
        await asyncio.to_thread(shared.create, _definition())
        path = "/apis/example.com/v1/namespaces/shop/things"
        thing = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "one", "labels": {"is": "new"}}}
        async with asyncio.timeout(20):
            while not await _done(shared, path, thing):  # noqa: ASYNC110 - the API server serves it a moment later
                await asyncio.sleep(0.2)
        await seen.until(lambda: seen.known == {"one": "new"}, within=20)
        await ask(shared, "DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.example.com")
        await seen.until(lambda: seen.known == {}, within=20)


async def _done(server: ApiServer, path: str, body: object) -> bool:
    try:
        await ask(server, "POST", path, body)
    except Exception:
        return False
    return True


def _definition() -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


async def test_only_metadata_is_sent_where_nothing_else_is_wanted(shared: ApiServer) -> None:
    contents: list[bytes] = []

    def keep(content: bytes) -> str:
        contents.append(content)
        return ""

    async with connect(str(shared.kubeconfig)) as client:
        wake = asyncio.Event()
        wanted = ListOptions(Kind("", "v1", "secrets", "Secret"), namespace="shop", metadata=True)
        shared.create(_secret("listed"))
        informer = Informer(client, wanted, decode=keep, notify=wake.set)
        async with background_tasks(watch=informer.run()):
            seen = Seen(informer, wake)
            await seen.until(lambda: informer.synced)
            await asyncio.to_thread(shared.create, _secret("watched"))
            await seen.until(lambda: len(informer.objects) == 2)
    assert len(contents) == 2
    assert all(b"aGlkZGVu" not in content for content in contents)


def _secret(name: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"key": "aGlkZGVu"}}
