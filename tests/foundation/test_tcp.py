import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from osm_probes.foundation.tcp import (
    AcceptedConnections,
    Connection,
    disconnect,
    peer_of,
    received_bytes,
)


@contextmanager
def connected(host: str = "127.0.0.1") -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client's socket, and the socket that this process accepted."""
    with socket.create_server((host, 0)) as listener, socket.create_connection(listener.getsockname()[:2]) as client:
        accepted, _ = listener.accept()
        with accepted:
            yield client, accepted


def the_connection(accepted: socket.socket) -> Connection:
    (connection,) = AcceptedConnections(accepted.getsockname()[1])
    return connection


def test_only_accepted_connections_of_the_port_are_found() -> None:
    with connected() as (client, accepted), connected():
        connection = the_connection(accepted)
        assert (connection.descriptor, connection.peer) == (accepted.fileno(), client.getsockname())


def test_a_closed_connection_is_not_found_again() -> None:
    with connected() as (_, accepted):
        connections = AcceptedConnections(accepted.getsockname()[1])
        assert len(list(connections)) == 1
        accepted.close()
        assert list(connections) == []


def test_bytes_are_counted_before_anybody_reads_them() -> None:
    with connected() as (client, accepted):
        client.sendall(b"x" * 5000)
        accepted.recv(1, socket.MSG_PEEK)
        assert received_bytes(the_connection(accepted)) == 5000


def test_both_sides_see_the_end_of_a_disconnected_connection() -> None:
    with connected() as (client, accepted):
        assert disconnect(the_connection(accepted))
        assert client.recv(1) == b""
        assert accepted.recv(1) == b""


def test_a_descriptor_that_belongs_to_another_socket_by_now_is_left_alone() -> None:
    with connected() as (_, accepted):
        connection = the_connection(accepted)
        other = Connection(connection.descriptor, connection.inode + 1, connection.peer)
        assert not disconnect(other)
        assert disconnect(connection)


def test_a_closed_connection_has_no_bytes_and_cannot_be_disconnected() -> None:
    closed = Connection(10_000, 1, ("127.0.0.1", 1))
    assert received_bytes(closed) == 0
    assert not disconnect(closed)


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        (("192.0.2.1", 7), ("192.0.2.1", 7)),
        (("::ffff:192.0.2.1", 7, 0, 0), ("192.0.2.1", 7)),
        (("2001:DB8::1", 7, 0, 0), ("2001:db8::1", 7)),
        (("fe80::1%eth0", 7, 0, 2), ("fe80::1", 7)),
    ],
)
def test_each_address_has_one_form(address: tuple[str, int], peer: tuple[str, int]) -> None:
    assert peer_of(address) == peer
