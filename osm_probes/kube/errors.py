"""Errors of the Kubernetes API: one class for each case that callers handle differently."""

from typing import ClassVar

from osm_probes.foundation.errors import OsmError


class KubernetesError(OsmError):
    """A request failed; the text contains the API server's message.

    retry_after: seconds that the API server asks clients to wait before the next attempt; 0 if it does not say.
    summary: what the class means, without a text of the API server, which may contain names.
    """

    retry_after = 0.0
    summary: ClassVar[str] = "the API server refuses the request"

    def explain(self, permission: str) -> str:
        """The text for a person. If the request was forbidden, it names `permission`, which the user lacks."""
        return str(self)


class UnusableKubeconfigError(KubernetesError):
    """There is no kubeconfig and no service account, or it cannot be used."""

    summary = "the kubeconfig cannot be used"


class UnreachableError(KubernetesError):
    """No response: the connection was refused, timed out or broke. A retry may succeed."""

    summary = "the API server cannot be reached"


class ForbiddenError(KubernetesError):
    """The user does not have the permission, or the API server does not know the user."""

    summary = "the permission is missing"

    def explain(self, permission: str) -> str:
        """The text, followed by the permission that the user needs."""
        return f"{self}; its user must be allowed to {permission}"


class NotFoundError(KubernetesError):
    """The object does not exist, or its kind is not served."""

    summary = "it is not found"


class ConflictError(KubernetesError):
    """The object exists already, or its resourceVersion has changed."""


class ExpiredError(KubernetesError):
    """The API server no longer has the requested resourceVersion or page (410 Gone): list again."""


class BusyError(KubernetesError):
    """The API server is overloaded or unavailable and asks for a later retry (429, 503, 504)."""

    summary = "the API server is overloaded"

    def __init__(self, text: str, *, retry_after: float) -> None:
        super().__init__(text)
        self.retry_after = retry_after
