from pathlib import Path

import pytest

from osm_probes.foundation.ipv6 import has_global_ipv6_address

LOOPBACK = "00000000000000000000000000000001 01 80 10 80       lo\n"
LINK_LOCAL = "fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n"
UNIQUE_LOCAL = "fd000000000000000000000000000002 04 40 00 82     eth0\n"
GLOBAL = "20010db8000000000000000000000002 04 40 00 82     eth0\n"


@pytest.mark.parametrize(
    ("lines", "has"),
    [("", False), (LOOPBACK, False), (LOOPBACK + LINK_LOCAL, False), (LOOPBACK + UNIQUE_LOCAL, True), (GLOBAL, True)],
)
def test_an_address_counts_if_others_can_connect_to_it(tmp_path: Path, lines: str, has: bool) -> None:  # noqa: FBT001 - a table's column
    file = tmp_path / "if_inet6"
    file.write_text(lines)
    assert has_global_ipv6_address(file) is has


def test_there_is_no_address_where_the_kernel_has_no_ipv6(tmp_path: Path) -> None:
    assert has_global_ipv6_address(tmp_path / "if_inet6") is False
