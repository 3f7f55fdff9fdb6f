"""The key of the proxies' uuids in the CA Secret: all replicas have the same, and it is never overwritten.

A Secret without the key, such as one that an earlier version made, gets it from whichever program may patch the Secret.
"""

import time
from asyncio import sleep
from collections.abc import Callable
from typing import Final

from osm_probes.cluster.ca_secret import CaSecret, StoredCa
from osm_probes.cluster.ca_secret_content import UUID_KEY, uuid_key_patch
from osm_probes.foundation.backoff import Backoff
from osm_probes.foundation.logs import logger
from osm_probes.foundation.problem_log import ProblemLog
from osm_probes.kube.errors import ConflictError, KubernetesError
from osm_probes.mesh.identity import Identity
from osm_probes.mesh.proxy_uuid import InvalidUuidKeyError, UuidKey, random_uuid

_LONGEST_PAUSE: Final = 60.0
# Another program may be allowed to add the key: so long, the lack of this program's permission is no problem.
_PATIENCE: Final = 15.0
_PERMISSION: Final = "patch the Secret of the certificate authority"


class ProxyUuidKey:
    """The key, from the newest contents of `secret`, which must have been loaded. `value`: None while there is none.

    A key that is removed from the Secret is stored again. patience: seconds for which a missing key is not reported.
    """

    def __init__(
        self, secret: CaSecret, *, patience: float = _PATIENCE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.value: UuidKey | None = None
        self._secret = secret
        self._patience = patience
        self._clock = clock
        self._problem = ProblemLog(
            "pki",
            began="the key of the proxies' uuids is missing: new pods get uuids that are not bound to their identity",
            ended="the key of the proxies' uuids is available",
            clock=clock,
        )
        if secret.stored.value is not None:
            self._read(secret.stored.value)

    def new_uuid(self, identity: Identity) -> str:
        """A new uuid for a proxy: bound to its identity if there is a key, otherwise random."""
        return self.value.new_uuid(identity) if self.value is not None else random_uuid(identity)

    async def run(self) -> None:
        """Follow the Secret until cancelled."""
        async for stored in self._secret.stored.values():
            if stored is not None and not self._read(stored):
                await self._add(stored)

    def _read(self, stored: StoredCa) -> bool:
        """Take the stored key; whether there is one. An invalid one is reported, and not replaced."""
        key = stored.content.uuid_key
        if not key:
            return False
        try:
            self.value = UuidKey(key)
            self._problem.update("")
        except InvalidUuidKeyError as error:
            self._problem.update(
                f"{UUID_KEY}: {error}; the last valid key, if any, stays in use: restore it, or delete it"
            )
        return True

    async def _add(self, stored: StoredCa) -> None:
        """Store the key, and try again until that succeeds or the Secret changes, which also brings another's key."""
        key = self.value or UuidKey.create()
        backoff, seen, since = Backoff(most=_LONGEST_PAUSE), self._secret.stored.version, self._clock()
        while self._secret.stored.version == seen:
            try:
                await self._secret.patch(stored, uuid_key_patch(key))
            except ConflictError:
                return  # the Secret's new version follows
            except KubernetesError as error:
                if self._clock() - since >= self._patience:
                    self._problem.update(error.explain(_PERMISSION))
                await sleep(backoff.pause(at_least=error.retry_after))
            else:
                logger("pki").info("the key of the proxies' uuids is stored", key=UUID_KEY)
                return
