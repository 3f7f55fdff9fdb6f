"""Lists of the Kubernetes API, read page by page: once by `list_objects`, or as the first step of an informer.

The rules: https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import msgspec

from osm_probes.kube.errors import ExpiredError, KubernetesError
from osm_probes.kube.list_options import ListOptions
from osm_probes.kube.wire import decode_page

T = TypeVar("T")

_PAGE_SIZE: Final = 500


class ListClient(Protocol):
    """The part of a KubernetesClient that lists need."""

    async def request(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, accept: str = "application/json"
    ) -> bytes:
        """Send a request and return the body of the response. Raises KubernetesError."""


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of a list. restarts: this page begins the list again, so all earlier pages must be discarded."""

    items: list[msgspec.Raw]
    resource_version: str
    restarts: bool = False


async def list_pages(
    client: ListClient, options: ListOptions, *, page_size: int = _PAGE_SIZE
) -> AsyncGenerator[ListPage]:
    """The pages of a list, in order.

    If the continue token expires between two pages, the whole list is requested again as one page. Raises
    KubernetesError; NotFoundError if the kind is not served; msgspec.DecodeError if a response is no list.
    """
    query = {**options.query, "limit": str(page_size)}
    while True:
        restarts = False
        try:
            content = await client.request("GET", options.path, query=query, accept=options.list_type)
        except ExpiredError:
            if "continue" not in query:
                raise
            # Without a limit there is no second page whose token could expire again.
            query, restarts = options.query, True
            content = await client.request("GET", options.path, query=query, accept=options.list_type)
        page = decode_page(content)
        yield ListPage(page.items or [], page.metadata.resource_version, restarts)
        if not page.metadata.continue_token:
            return
        query["continue"] = page.metadata.continue_token


async def list_objects(
    client: ListClient,
    options: ListOptions,
    *,
    type: type[T],  # noqa: A002 - as msgspec
    page_size: int = _PAGE_SIZE,
) -> list[T]:
    """All selected objects, decoded as `type`. Raises KubernetesError; NotFoundError if the kind is not served."""
    objects: list[T] = []
    try:
        async for page in list_pages(client, options, page_size=page_size):
            if page.restarts:
                objects.clear()
            objects += [msgspec.json.decode(item, type=type) for item in page.items]
    except msgspec.DecodeError as error:
        raise KubernetesError(f"the list of {options.kind} cannot be decoded: {error}") from error
    return objects
