from collections.abc import AsyncIterator

import pytest

from osm_probes.kube.errors import ExpiredError, ForbiddenError, KubernetesError, NotFoundError
from osm_probes.kube.kind import SERVICES
from osm_probes.kube.list_options import ListOptions
from osm_probes.kube.paging import ListPage, list_objects, list_pages
from osm_probes.kube.wire import AnyObject, decode_object
from tests.kube.scripted_client import ScriptedClient, page

OPTIONS = ListOptions(SERVICES, namespace="shop", labels="app")
PATH = "/api/v1/namespaces/shop/services"
EXPIRED = ExpiredError("the provided continue parameter is too old")


async def names(client: ScriptedClient, *, page_size: int = 2) -> list[str]:
    """The names that list_objects returns."""
    objects = await list_objects(client, OPTIONS, type=AnyObject, page_size=page_size)
    return [decoded.metadata.name for decoded in objects]


async def contents(pages: AsyncIterator[ListPage]) -> list[tuple[list[str], str, bool]]:
    """Names, version and restart of each page."""
    return [
        ([decode_object(item).metadata.name for item in page.items], page.resource_version, page.restarts)
        async for page in pages
    ]


async def test_a_list_of_several_pages_is_complete() -> None:
    client = ScriptedClient(page("a", "b", more="token-1"), page("c", "d", more="token-2"), page("e"))
    assert await names(client) == ["a", "b", "c", "d", "e"]
    selected = {"labelSelector": "app", "limit": "2"}
    assert client.requests == [
        (PATH, selected),
        (PATH, selected | {"continue": "token-1"}),
        (PATH, selected | {"continue": "token-2"}),
    ]


async def test_an_expired_continue_token_restarts_the_list_without_continue_and_limit() -> None:
    client = ScriptedClient(page("a", "deleted", more="token-1"), EXPIRED, page("a", "b", "c"))
    assert await names(client) == ["a", "b", "c"], "objects of earlier pages do not count after a restart"
    assert client.requests[-1] == (PATH, {"labelSelector": "app"})


async def test_the_first_page_after_a_restart_says_so() -> None:
    client = ScriptedClient(page("a", version="1", more="token-1"), EXPIRED, page("a", "b", version="2"))
    assert await contents(list_pages(client, OPTIONS)) == [(["a"], "1", False), (["a", "b"], "2", True)]


async def test_a_list_that_expires_at_its_first_page_fails() -> None:
    with pytest.raises(ExpiredError):
        await names(ScriptedClient(EXPIRED))


async def test_a_restart_that_fails_is_an_error() -> None:
    with pytest.raises(ForbiddenError):
        await names(ScriptedClient(page("a", more="token-1"), EXPIRED, ForbiddenError("no")))


async def test_an_empty_list_may_have_null_items() -> None:
    assert await names(ScriptedClient(b'{"metadata": {"resourceVersion": "1"}, "items": null}')) == []


async def test_a_kind_that_is_not_served_is_not_found() -> None:
    with pytest.raises(NotFoundError):
        await names(ScriptedClient(NotFoundError("404 page not found")))


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"metadata": {}, "items": [7]}'])
async def test_a_response_that_is_no_list_is_an_error(content: bytes) -> None:
    with pytest.raises(KubernetesError, match="the list of services cannot be decoded: "):
        await names(ScriptedClient(content))
