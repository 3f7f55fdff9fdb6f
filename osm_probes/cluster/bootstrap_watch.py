"""Namespaces of the mesh -> their bootstrap Secrets, each namespace watched for itself.

The controller has permissions for Secrets only in the mesh's namespaces. A namespace where they are missing does not
delay the others.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from osm_probes.cluster.bootstrap_metadata import BootstrapSecret, bootstrap_secrets_in, decode_bootstrap_secret
from osm_probes.foundation.backoff import Backoff
from osm_probes.foundation.problem_log import ProblemLog
from osm_probes.foundation.tasks import TaskPool
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.informer import Informer

_LONGEST_PAUSE: Final = 30.0


class WatchedNamespace:
    """The bootstrap Secrets of one namespace, and when they may be written again after a failure."""

    def __init__(self, client: KubernetesClient, name: str, *, pool: TaskPool, clock: Callable[[], float]) -> None:
        self.name = name
        self.informer: Informer[BootstrapSecret] = Informer(
            client, bootstrap_secrets_in(name), decode=decode_bootstrap_secret, notify=_ignore_change
        )
        self._clock = clock
        self._retry_at = 0.0
        self._backoff = Backoff(first=1.0, most=_LONGEST_PAUSE)
        self._problem = ProblemLog(
            "janitor",
            began="bootstrap Secrets cannot be reconciled",
            ended="bootstrap Secrets are reconciled again",
            clock=clock,
        )
        self._pool = pool
        self._task = pool.start(self.informer.run(), name=f"bootstrap Secrets of {name}")

    @property
    def secrets(self) -> list[BootstrapSecret]:
        """The Secrets as last seen."""
        return list(self.informer.objects.values())

    @property
    def is_known(self) -> bool:
        """Whether all Secrets are known as they are now."""
        return self.informer.synced and not self.informer.problem

    @property
    def is_due(self) -> bool:
        """Whether it is time to write: at once, or a growing pause after a failure."""
        return self._clock() >= self._retry_at

    def report(self, problem: str) -> None:
        """Log that reading or writing fails, once, and when it works again. After a failed write, pause."""
        if problem:
            self._retry_at = self._clock() + self._backoff.pause()
        else:
            self._backoff.reset()
        self._problem.update(problem or str(self.informer.problem), namespace=self.name)

    def keep_running(self) -> None:
        """Start the watch again if an unforeseen error ended it."""
        if self._task.done():
            self._task = self._pool.start(self.informer.run(), name=f"bootstrap Secrets of {self.name}")

    def stop(self) -> None:
        """End the watch."""
        self._task.cancel()


class BootstrapSecretWatch:
    """The watched namespaces. Their watches run in `pool`."""

    def __init__(
        self, client: KubernetesClient, pool: TaskPool, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._pool = pool
        self._clock = clock
        self._namespaces: dict[str, WatchedNamespace] = {}

    def follow(self, names: Iterable[str]) -> None:
        """Watch exactly these namespaces."""
        wanted = set(names)
        for name in self._namespaces.keys() - wanted:
            self._namespaces.pop(name).stop()
        for namespace in self._namespaces.values():
            namespace.keep_running()
        for name in sorted(wanted - self._namespaces.keys()):
            self._namespaces[name] = WatchedNamespace(self._client, name, pool=self._pool, clock=self._clock)

    def __iter__(self) -> Iterator[WatchedNamespace]:
        return iter(list(self._namespaces.values()))


def _ignore_change() -> None:
    """The informer is read once a second instead."""
