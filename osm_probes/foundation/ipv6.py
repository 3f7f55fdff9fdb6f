"""The kernel's list of IPv6 addresses -> whether this network namespace has one that others can connect to."""

from pathlib import Path
from typing import Final

_ADDRESSES: Final = Path("/proc/net/if_inet6")
# proc_pid_net(5) and the kernel's include/net/ipv6.h: the host (::1), and the link.
_OTHER_SCOPES: Final = frozenset({"10", "20"})


def has_global_ipv6_address(addresses: Path = _ADDRESSES) -> bool:
    """Whether an interface has an IPv6 address that is neither loopback nor link-local. False where IPv6 is off."""
    try:
        lines = addresses.read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    return any(fields[3] not in _OTHER_SCOPES for fields in map(str.split, lines))
