"""The Kubernetes API's answers that are no: one error for each thing that a caller does differently."""

from osm_probes.foundation.errors import OsmError


class KubernetesError(OsmError):
    """The API server did not do what it was asked; the text has its words.

    retry_after: seconds after which it wants to be asked again, 0 if it does not say.
    """

    retry_after = 0.0

    def needing(self, permission: str) -> str:
        """The text; of what is forbidden, with the permission that its user lacks, for a person who grants it."""
        return str(self)


class UnusableKubeconfigError(KubernetesError):
    """There is no kubeconfig or service account to ask with, or it cannot be used."""


class UnreachableError(KubernetesError):
    """No answer: refused, timed out, or broken off. It may come back at any time."""


class ForbiddenError(KubernetesError):
    """The user may not do this."""

    def needing(self, permission: str) -> str:
        """The text, with the permission that its user lacks."""
        return f"{self}; its user must be allowed to {permission}"


class NotFoundError(KubernetesError):
    """There is no such object, or no such kind."""


class ConflictError(KubernetesError):
    """Somebody else was quicker: the object is there already, or is another version by now."""


class ExpiredError(KubernetesError):
    """The version or the page asked for is forgotten (410): only a new list helps."""


class BusyError(KubernetesError):
    """The API server asks to come again later (429, 503)."""

    def __init__(self, text: str, *, retry_after: float) -> None:
        super().__init__(text)
        self.retry_after = retry_after
