import asyncio
import socket
from pathlib import Path

import pytest

from osm_probes.health.listening import OwnSocket, kernel_forms, owner
from tests.log_capture import capture_logs

TABLE = b"""\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 0200007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 11 1 0 20 4 30 10 -1
   1: 0200007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0 100 0 0 10 0
   2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 13 1 0 100 0 0 10 0
   3: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 14 1 0 100 0 0 10 0
""".splitlines()


@pytest.mark.parametrize(
    ("local", "inode"),
    [(b"0100007F:1F90", 14), (b"0200007F:1F90", 12), (b"0200007F:1F91", None), (b"00000000:1F90", None)],
)
def test_only_a_socket_that_listens_on_the_exact_address_is_found(local: bytes, inode: int | None) -> None:
    assert owner(TABLE, among={local}) == inode


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_listening_socket_is_found_by_its_address_until_it_is_closed(host: str) -> None:
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        own = OwnSocket(host, listener.getsockname()[1])
        own.claim()
        found = own.listens()
    assert (found, own.listens()) == (True, False)


def test_another_socket_on_the_port_counts_as_lost_unless_it_is_claimed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        own = OwnSocket("127.0.0.1", port)
        own.claim()
    with socket.create_server(("127.0.0.1", port)):
        foreign = own.listens()
        own.claim()
        assert (foreign, own.listens()) == (False, True)


def test_a_table_that_cannot_be_read_is_no_loss(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        table.write_bytes(Path("/proc/self/net/tcp").read_bytes())
        own = OwnSocket("127.0.0.1", listener.getsockname()[1], tables=[table])
        own.claim()
    table.unlink()
    assert own.listens()


def test_a_socket_that_is_in_no_table_is_logged_and_never_counts_as_lost() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    own = OwnSocket("127.0.0.1", port)
    with capture_logs() as logs:
        own.claim()
    assert [entry["event"] for entry in logs] == ["the listening socket is in no table: its loss would go unnoticed"]
    assert own.listens()


async def test_a_socket_is_lost_when_it_is_missing_twice_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [False, True, False, False]
    monkeypatch.setattr(OwnSocket, "listens", lambda _: looks.pop(0))
    async with asyncio.timeout(5):
        await OwnSocket("127.0.0.1", 1).lost(every=0)
    assert looks == []


_ANY = "0" * 32
_MAPPED = "0000000000000000FFFF0000"


@pytest.mark.parametrize(
    ("host", "forms"),
    [
        ("127.0.0.1", {"0100007F", f"{_MAPPED}0100007F"}),
        ("::1", {"00000000000000000000000001000000"}),
        ("0.0.0.0", {"00000000", f"{_MAPPED}00000000", _ANY}),
        ("::", {"00000000", f"{_MAPPED}00000000", _ANY}),
    ],
)
def test_an_address_is_looked_up_in_each_form_that_libraries_use(host: str, forms: set[str]) -> None:
    assert kernel_forms(host, 25) == {f"{form}:0019".encode() for form in forms}
