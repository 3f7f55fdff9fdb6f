"""All objects of a kind as they are now, for who asks once; the informer is for who goes on watching."""

from typing import Final, TypeVar

import msgspec

from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import KubernetesError
from osm_probes.kube.list_options import ListOptions
from osm_probes.kube.wire import page_of

T = TypeVar("T")

_PAGE: Final = 500


async def listed(client: KubernetesClient, wanted: ListOptions, *, type: type[T]) -> list[T]:  # noqa: A002 - as msgspec
    """The objects, page by page, read as `type`. Raises KubernetesError; AbsentError where the kind is not served."""
    query = {**wanted.query, "limit": str(_PAGE)}
    found: list[T] = []
    while True:
        page = await client.ask("GET", wanted.kind.path(namespace=wanted.namespace), query=query)
        try:
            content = page_of(page)
            found += [msgspec.json.decode(item, type=type) for item in content.items or ()]
        except msgspec.DecodeError as error:
            raise KubernetesError(f"the list of {wanted.kind} cannot be read: {error}") from error
        if not content.metadata.more:
            return found
        query["continue"] = content.metadata.more
