"""Ports of the data plane, as the contract has them; those of rewritten probes are in probes.py."""

from typing import Final

ADS_PORT: Final = 15128
"""Where sidecars dial the controller."""

ADMIN_PORT: Final = 15000
OUTBOUND_PORT: Final = 15001
INBOUND_PORT: Final = 15003
METRICS_PORT: Final = 15010
