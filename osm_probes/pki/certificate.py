"""A certificate with its private key and its dates."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

BACKDATED: Final = timedelta(hours=2)
"""How long before the time of issue notBefore lies, so that peers whose clock is slow accept the certificate."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A leaf certificate and its private key. `chain_pem` starts with the leaf. Dates are aware, in UTC."""

    common_name: str
    chain_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)
    not_before: datetime
    not_after: datetime

    @property
    def renew_at(self) -> datetime:
        """When to renew: after two thirds of the time between issue and expiry."""
        issued = self.not_before + BACKDATED
        return issued + (self.not_after - issued) * 2 / 3
