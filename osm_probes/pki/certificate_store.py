"""The certificates in use, each renewed after two thirds of its validity."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.latest import Changes
from osm_probes.foundation.logs import logger
from osm_probes.pki.certificate import Certificate

_SHORTEST_SLEEP: Final = 0.05
_RETRY: Final = 5.0

Issue = Callable[[str, timedelta], Certificate]
"""Issues a certificate for this name with this validity. Raises OsmError if it cannot."""


class CertificateStore:
    """Certificates by name: issued on first use, renewed by `renew` before they expire.

    `renewed` notifies after renewals. If a renewal fails, the old certificate stays and the renewal is retried.
    longest_sleep: seconds after which the wall clock is read again, which may have jumped, as after a suspension.
    """

    def __init__(
        self,
        issue: Issue,
        *,
        validity: timedelta,
        now: Callable[[], datetime] | None = None,
        longest_sleep: float = 10.0,
    ) -> None:
        self.renewed = Changes()
        self._issue = issue
        self._validity = validity
        self._longest_sleep = longest_sleep
        self._now = now or (lambda: datetime.now(UTC))
        self._certificates: dict[str, Certificate] = {}
        self._outdated: set[str] = set()
        self._wake = asyncio.Event()

    def certificate(self, name: str) -> Certificate:
        """The certificate for `name`, issued now if there is none. Raises OsmError if it cannot be issued.

        A certificate that could not be renewed is returned even after it has expired: a check reports that.
        """
        certificate = self._certificates.get(name)
        if certificate is None:
            certificate = self._certificates[name] = self._issue(name, self._validity)
            self._wake.set()
        return certificate

    def change_validity(self, validity: timedelta) -> None:
        """Issue with this validity from now on. If it differs from the last one, `renew` replaces all certificates."""
        if validity != self._validity:
            self._validity = validity
            self.replace_all()

    def replace_all(self) -> None:
        """Make `renew` replace all certificates now, for example because another CA signs from now on."""
        self._outdated = set(self._certificates)
        self._wake.set()

    def keep_only(self, names: Iterable[str]) -> None:
        """Drop the certificates of all other names."""
        kept = set(names)
        for name in [name for name in self._certificates if name not in kept]:
            del self._certificates[name]

    async def renew(self) -> None:
        """Renew each certificate when it is due. Runs until it is cancelled."""
        while True:
            await self._sleep(self._renew_due())

    def _renew_due(self) -> float:
        """Renew what is due now. Returns the seconds until the next renewal."""
        pause = self._longest_sleep
        changed = False
        for name, certificate in list(self._certificates.items()):
            left = (certificate.renew_at - self._now()).total_seconds()
            if left <= 0 or name in self._outdated:
                replaced = self._replace(name)
                changed = changed or replaced
                left = 0.0 if replaced else _RETRY
            pause = min(pause, max(left, _SHORTEST_SLEEP))
        if changed:
            self.renewed.notify()
        return pause

    def _replace(self, name: str) -> bool:
        try:
            self._certificates[name] = self._issue(name, self._validity)
        except OsmError as error:
            logger("pki").error("a certificate cannot be renewed", name=name, error=str(error))
            return False
        self._outdated.discard(name)
        return True

    async def _sleep(self, pause: float) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            return
