"""JSON that is the same for every kind: metadata, pages of lists, watch events, the data of Secrets."""

import base64
from collections.abc import Mapping
from http import HTTPStatus

import msgspec

from osm_probes.kube.errors import BusyError, ExpiredError, KubernetesError
from osm_probes.kube.shallow import decode_any_depth


class ObjectMeta(msgspec.Struct, rename="camel"):
    """The part of an object's metadata that identifies the object and its version."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class AnyObject(msgspec.Struct):
    """An object of any kind. The object of an ERROR event is a Status, with `code` and `message`."""

    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    code: int = 0
    message: str = ""


class ListMeta(msgspec.Struct, rename="camel"):
    """The metadata of a page. continue_token: requests the next page; empty on the last one."""

    resource_version: str = ""
    continue_token: str = msgspec.field(name="continue", default="")


class Page(msgspec.Struct):
    """One page of a list."""

    metadata: ListMeta
    items: list[msgspec.Raw] | None = None


class WatchEvent(msgspec.Struct):
    """One line of a watch. `type` is ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""

    type: str
    object: msgspec.Raw


def watch_error(status: AnyObject) -> KubernetesError:
    """The Status of an ERROR event -> the error that it means."""
    if status.code == HTTPStatus.TOO_MANY_REQUESTS:
        return BusyError(status.message, retry_after=1.0)
    # As client-go does for every other code: events may have been missed, so only a new list is safe.
    return ExpiredError(f"{status.message} ({status.code})")


def encode_secret_data(files: Mapping[str, bytes]) -> dict[str, str]:
    """File contents by name -> the base64 `data` of a Secret."""
    return {name: base64.b64encode(content).decode() for name, content in files.items()}


decode_page = decode_any_depth(msgspec.json.Decoder(Page).decode)
decode_watch_event = decode_any_depth(msgspec.json.Decoder(WatchEvent).decode)
decode_object = decode_any_depth(msgspec.json.Decoder(AnyObject).decode)
