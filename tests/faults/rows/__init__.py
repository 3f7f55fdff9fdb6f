"""The faults, by what they hit; the order is the table's."""

from tests.faults.row import Mode, Row
from tests.faults.rows import (
    certificates,
    floods,
    grpc,
    hang,
    injection,
    injector,
    judge,
    kubernetes,
    load,
    mesh,
    network,
    quota,
    start,
    stop,
    waiting,
)


def all_rows(mode: Mode) -> tuple[Row, ...]:
    """Every row of the matrix."""
    modules = (
        start,
        stop,
        network,
        hang,
        grpc,
        quota,
        certificates,
        mesh,
        waiting,
        judge,
        kubernetes,
        injection,
        injector,
        load,
        floods,
    )
    return tuple(row for module in modules for row in module.rows(mode))
