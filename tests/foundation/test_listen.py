import socket

import pytest

from osm_probes.foundation.listen import AddressInUseError, UnusableAddressError, listen, listen_on_loopback


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_all_addresses_answer_on_one_socket(address: str) -> None:
    with listen(0) as listener, socket.create_connection((address, listener.getsockname()[1]), timeout=5):
        pass


def refuse_family(refused: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse sockets of one address family, as a kernel without it does."""
    real = socket.socket

    def new(family: int, kind: int) -> socket.socket:
        if family == refused:
            raise OSError(97, "Address family not supported by protocol")
        return real(family, kind)

    monkeypatch.setattr("osm_probes.foundation.listen.socket.socket", new)


def test_a_socket_on_one_address_does_not_answer_on_others() -> None:
    with listen(0, address="127.0.0.1") as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("::1", listener.getsockname()[1]), timeout=5)


@pytest.mark.parametrize("taken", ["", "127.0.0.1", "::1"])
def test_a_taken_port_is_an_error_in_one_line(taken: str) -> None:
    with listen(0, address=taken) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(AddressInUseError, match=f"all addresses, port {port}: another process listens there$"):
            listen(port)


def test_an_address_of_another_machine_is_refused_by_name() -> None:
    with pytest.raises(UnusableAddressError, match=r"cannot listen on 192\.0\.2\.1, port 0: "):
        listen(0, address="192.0.2.1")


def test_without_ipv6_it_listens_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_family(socket.AF_INET6, monkeypatch)
    with listen(0) as listener:
        assert listener.getsockname()[0] == "0.0.0.0"


def test_on_loopback_only_this_machine_is_answered() -> None:
    with listen_on_loopback(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
        with socket.create_connection(("127.0.0.1", listener.getsockname()[1]), timeout=5):
            pass
        with pytest.raises(AddressInUseError):
            listen_on_loopback(listener.getsockname()[1])


def test_without_ipv4_loopback_is_that_of_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_family(socket.AF_INET, monkeypatch)
    with listen_on_loopback(0) as listener:
        assert listener.getsockname()[0] == "::1"
