"""The parts of lists and watch events that every kind has, as the API sends them."""

import base64
from collections.abc import Mapping
from http import HTTPStatus

import msgspec

from osm_probes.kube.errors import BusyError, ExpiredError, KubernetesError


class Meta(msgspec.Struct, rename="camel"):
    """Of an object, what finds it again."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class Thing(msgspec.Struct):
    """Any object; in an ERROR event a Status."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    code: int = 0
    message: str = ""


class PageMeta(msgspec.Struct, rename="camel"):
    """Of a page: as of which version, and where the next one begins."""

    resource_version: str = ""
    more: str = msgspec.field(name="continue", default="")


class Page(msgspec.Struct):
    """A part of a list."""

    metadata: PageMeta
    items: list[msgspec.Raw] | None = None


class WatchEvent(msgspec.Struct):
    """What a watch says: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""

    type: str
    object: msgspec.Raw


def error_of(status: Thing) -> KubernetesError:
    """What an ERROR event means."""
    if status.code == HTTPStatus.TOO_MANY_REQUESTS:
        return BusyError(status.message, retry_after=1.0)
    # Whatever else it is, as in client-go: what was missed can only be found by a new list.
    return ExpiredError(f"{status.message} ({status.code})")


def secret_data(files: Mapping[str, bytes]) -> dict[str, str]:
    """Contents by name -> the `data` of a Secret."""
    return {name: base64.b64encode(content).decode() for name, content in files.items()}


page_of = msgspec.json.Decoder(Page).decode
event_of = msgspec.json.Decoder(WatchEvent).decode
thing_of = msgspec.json.Decoder(Thing).decode
