"""Vocabulary: the certificates in use, each renewed at two thirds of its life."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.pki.certificate import Certificate

_LONGEST_SLEEP: Final = 3600.0
_SHORTEST_SLEEP: Final = 0.05
_RETRY: Final = 5.0

Issue = Callable[[str, timedelta], Certificate]
"""Makes a certificate for a name with this validity; raises OsmError where it cannot."""


class CertificateStore:
    """Certificates by name, issued when first asked for and replaced before they end.

    `renewed` counts up with each renewal, so that others can wait for one. A renewal that fails keeps the old
    certificate and is tried again.
    """

    def __init__(self, issue: Issue, *, validity: timedelta, now: Callable[[], datetime] | None = None) -> None:
        self.renewed: Latest[int] = Latest(0)
        self._issue = issue
        self._validity = validity
        self._now = now or (lambda: datetime.now(UTC))
        self._held: dict[str, Certificate] = {}
        self._outdated: set[str] = set()
        self._new = asyncio.Event()

    @property
    def held(self) -> MappingProxyType[str, Certificate]:
        """The certificates by name."""
        return MappingProxyType(self._held)

    def certificate(self, name: str) -> Certificate:
        """The certificate for `name`, issued now if there is none. Raises OsmError where it cannot be issued.

        One that could not be renewed stays, even when it has ended: its dates are a check's business.
        """
        certificate = self._held.get(name)
        if certificate is None:
            certificate = self._held[name] = self._issue(name, self._validity)
            self._new.set()
        return certificate

    def change_validity(self, validity: timedelta) -> None:
        """From now on issue with this validity; certificates of another one are replaced at the next look."""
        if validity != self._validity:
            self._validity = validity
            self.replace_all()

    def replace_all(self) -> None:
        """Replace all certificates at the next look: who issues them has changed."""
        self._outdated = set(self._held)
        self._new.set()

    def keep_only(self, names: Iterable[str]) -> None:
        """Forget all others: nobody uses them any more."""
        wanted = set(names)
        for name in [name for name in self._held if name not in wanted]:
            del self._held[name]

    async def renew(self) -> None:
        """Renew what is due, without an end."""
        while True:
            await self._sleep(self._renew_due())

    def _renew_due(self) -> float:
        """Renew what is due now; the seconds until something else is."""
        pause = _LONGEST_SLEEP
        changed = False
        for name, certificate in list(self._held.items()):
            left = (certificate.renew_at - self._now()).total_seconds()
            if left <= 0 or name in self._outdated:
                replaced = self._replace(name)
                changed = changed or replaced
                left = 0.0 if replaced else _RETRY
            pause = min(pause, max(left, _SHORTEST_SLEEP))
        if changed:
            self.renewed.set(self.renewed.value + 1)
        return pause

    def _replace(self, name: str) -> bool:
        try:
            self._held[name] = self._issue(name, self._validity)
        except OsmError as error:
            logger("pki").error("a certificate cannot be renewed", name=name, error=str(error))
            return False
        self._outdated.discard(name)
        return True

    async def _sleep(self, pause: float) -> None:
        self._new.clear()
        try:
            async with asyncio.timeout(pause):
                await self._new.wait()
        except TimeoutError:
            return
