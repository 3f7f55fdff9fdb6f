"""Refused Secrets -> one warning each, and never more than a few in ten minutes, however many users create."""

from collections.abc import Callable, Iterable
from typing import Final

from osm_probes.cluster.bootstrap_metadata import BootstrapSecret
from osm_probes.foundation.logs import logger

_MOST: Final = 20
_EVERY: Final = 600.0


class RefusalLog:
    """Logs why no certificate is issued into a Secret, once for each Secret and reason."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], str] = {}
        self._began = clock()
        self._lines = 0

    def add(self, secret: BootstrapSecret, reason: str) -> None:
        """A Secret is refused for this reason."""
        key = (secret.namespace, secret.name)
        if self._known.get(key) == reason:
            return
        self._known[key] = reason
        if self._clock() - self._began >= _EVERY:
            self._began, self._lines = self._clock(), 0
        self._lines += 1
        if self._lines <= _MOST:
            logger("janitor").warning(
                "no certificate is issued into a Secret", secret="/".join(key), error=f"{reason}: restart its pod"
            )
        elif self._lines == _MOST + 1:
            logger("janitor").warning("further Secrets without a certificate are not logged for ten minutes")

    def keep_only(self, secrets: Iterable[BootstrapSecret]) -> None:
        """Forget all other Secrets."""
        kept = {(secret.namespace, secret.name) for secret in secrets}
        self._known = {key: reason for key, reason in self._known.items() if key in kept}
