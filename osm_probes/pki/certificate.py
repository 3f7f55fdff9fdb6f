"""Vocabulary: a certificate with its key, and the dates that matter."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

BACKDATED: Final = timedelta(hours=2)
"""How far notBefore lies before the issue, so that a peer whose clock is behind still accepts it."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A leaf with its private key: `chain_pem` leaf first. Dates are aware, in UTC."""

    common_name: str
    chain_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)
    not_before: datetime
    not_after: datetime

    @property
    def renew_at(self) -> datetime:
        """When two thirds of its life since the issue are over."""
        issued = self.not_before + BACKDATED
        return issued + (self.not_after - issued) * 2 / 3
