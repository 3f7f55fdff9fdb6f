"""An object that is created in a dry run -> whether the API server would create it, and if not, who refuses it.

A dry run passes authentication, authorization, quotas and all admission webhooks, and stores nothing.
https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run
"""

import enum
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import msgspec

from osm_probes.kube.client import JsonObject, KubernetesClient, Response
from osm_probes.kube.errors import UnreachableError
from osm_probes.kube.kind import Kind

_FAILED_CALL: Final = "failed calling webhook "
_DENIAL: Final = "admission webhook "
_NOT_SUPPORTED: Final = "does not support dry run"
_TERMINATING: Final = "because it is being terminated"
_SHOWN: Final = 300


class Outcome(enum.Enum):
    """What the API server made of the object."""

    CREATED = enum.auto()
    REFUSED = enum.auto()
    """By a permission, a quota, a policy or an admission webhook, which may concern only this namespace."""
    BROKEN = enum.auto()
    """The API server failed (5xx)."""
    NO_ANSWER = enum.auto()
    """No response within the time limit, or no connection."""
    UNKNOWN = enum.auto()
    """This says nothing: the API server is overloaded (429), the namespace is gone or being deleted, or an admission
    webhook can review only real objects."""


@dataclass(frozen=True, slots=True)
class DryRun:
    """The result of a dry run. text: the reason if there is one, with names. content: the object, if it was created.

    took: in seconds.
    """

    outcome: Outcome
    text: str = ""
    content: bytes = b""
    status: int = 0
    took: float = 0.0

    def by_webhook(self, name: str) -> bool:
        """Whether this webhook refused the object, or could not be called."""
        return f'{_DENIAL}"{name}"' in self.text or f'{_FAILED_CALL}"{name}"' in self.text

    @property
    def failed_call(self) -> bool:
        """Whether a webhook could not be called."""
        return _FAILED_CALL in self.text


class _Status(msgspec.Struct):
    message: str = ""


async def create_in_dry_run(client: KubernetesClient, kind: Kind, body: JsonObject, *, namespace: str) -> DryRun:
    """Create the object in a dry run. Raises KubernetesError only if the client cannot send the request."""
    started = time.monotonic()
    try:
        response = await client.send("POST", kind.path(namespace=namespace), query={"dryRun": "All"}, body=body)
    except UnreachableError as error:
        return DryRun(Outcome.NO_ANSWER, str(error), took=time.monotonic() - started)
    return dry_run_from_response(response)


def dry_run_from_response(response: Response) -> DryRun:
    """What a response to the creation means."""
    if response.status < HTTPStatus.BAD_REQUEST:
        return DryRun(Outcome.CREATED, content=response.content, status=response.status)
    text = _message(response.content)
    return DryRun(_outcome(response.status, text), text or f"HTTP status {response.status}", status=response.status)


def _message(content: bytes) -> str:
    try:
        message = msgspec.json.decode(content, type=_Status).message
    except msgspec.DecodeError:
        message = content[:_SHOWN].decode("utf-8", "replace").strip()
    return message[:_SHOWN]


def _outcome(status: int, text: str) -> Outcome:
    if _TERMINATING in text or _NOT_SUPPORTED in text or status == HTTPStatus.NOT_FOUND:
        return Outcome.UNKNOWN
    # Such a webhook, which is not the API server's fault, may concern only this namespace.
    if _FAILED_CALL in text or text.startswith(_DENIAL):
        return Outcome.REFUSED
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Outcome.UNKNOWN
    return Outcome.BROKEN if status >= HTTPStatus.INTERNAL_SERVER_ERROR else Outcome.REFUSED
