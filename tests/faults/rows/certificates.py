"""Certificates that end, a CA that changes, a clock that jumps."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from osm_probes.pki.authority import ROOT_VALIDITY, Authority
from osm_probes.pki.ca_folder import load_or_create_authority
from tests.faults import orders
from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.row import FaultError, Mode, Program, Row, nothing
from tests.faults.stage import Stage

_LIFE = 12
"""Seconds that a short-lived certificate is valid: it is renewed when it is 8 s old."""


@contextlib.contextmanager
def short_lives(stage: Stage) -> Iterator[None]:
    """Certificates live some seconds."""
    file = stage.mesh / "mesh.yaml"
    file.write_text(file.read_text().replace("24h", f"{_LIFE}s"))
    yield


def issuing(order: str) -> Callable[[Stage], AbstractContextManager[None]]:
    """The CA does something else than it should, until it is mended."""

    @contextlib.contextmanager
    def act(stage: Stage) -> Iterator[None]:
        stage.order(order)
        yield
        stage.order(orders.HONEST_CERTIFICATES)

    return act


@contextlib.contextmanager
def old_root(stage: Stage) -> Iterator[None]:
    """The root has 12 s left."""

    def then() -> datetime:
        return datetime.now(UTC) - ROOT_VALIDITY + timedelta(seconds=12)

    root = Authority.create("osm-ca", now=then)
    (stage.ca / "ca.crt").write_bytes(root.root_pem)
    (stage.ca / "private.key").write_bytes(root.key_pem)
    yield


@contextlib.contextmanager
def proxies_stay(stage: Stage) -> Iterator[None]:
    """20 proxies hold their streams while certificates are renewed again and again."""
    with stage.load("hold", 20):
        yield


@contextlib.contextmanager
def another_ca(stage: Stage) -> Iterator[None]:
    """The folder's pair is replaced by one of another CA."""
    fresh = stage.folder / "fresh"
    load_or_create_authority(fresh, common_name="osm-ca")
    shutil.copytree(fresh, stage.ca, dirs_exist_ok=True)
    yield


@contextlib.contextmanager
def false_clock(stage: Stage) -> Iterator[None]:
    """Program, judge, truth and probes see a wall clock that can be set; the monotonic one is the machine's."""
    library = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
    if library is None:
        raise FaultError("libfaketime is missing: apt-get install faketime")
    _set_clock(stage, 0)
    stage.shared |= {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(stage.folder / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    yield


def _set_clock(stage: Stage, seconds: int) -> None:
    new = stage.folder / "clock.new"
    new.write_text(f"{seconds:+d}\n")
    new.rename(stage.folder / "clock")


def step(seconds: int) -> Callable[[Stage], AbstractContextManager[None]]:
    """The clock jumps, and jumps back."""

    @contextlib.contextmanager
    def act(stage: Stage) -> Iterator[None]:
        _set_clock(stage, seconds)
        yield
        _set_clock(stage, 0)

    return act


def rows(_mode: Mode) -> tuple[Row, ...]:
    """The rows."""
    fails = Expectation(Truth.FAILS, Alive.STAYS)
    unharmed = Expectation(Truth.HOLDS, Alive.STAYS)
    blocked = issuing(orders.REFUSE_CERTIFICATES)
    return (
        Row(
            "certificate-expired", f"certificate of the ADS expired ({_LIFE} s of life, renewal blocked)", blocked,
            fails, setup=short_lives, lasts=_LIFE + 8.0,
        ),
        Row(
            "root-expired", "root certificate expired while it runs", nothing,
            Expectation(Truth.FAILS, Alive.STAYS, recovers_within=None), setup=old_root, lasts=18.0,
        ),
        Row(
            "certificate-renewed", f"certificate of the ADS renewed every {_LIFE * 2 // 3} s", proxies_stay, unharmed,
            setup=short_lives, lasts=25.0,
        ),
        Row("ca-changed", "another CA in the folder, under running proxies", another_ca, unharmed),
        Row("clock-forward", "clock stepped an hour forward", step(3600), unharmed, setup=false_clock),
        Row("clock-back", "clock stepped an hour back", step(-3600), unharmed, setup=false_clock),
        Row(
            "injector-certificate-expired", f"certificate expired ({_LIFE} s of life, renewal blocked)", blocked, fails,
            program=Program.INJECTOR, setup=short_lives, lasts=_LIFE + 8.0,
        ),
        Row(
            "injector-bundle-mismatched", "certificate renewed by another CA than the bundle's",
            issuing(orders.FOREIGN_CERTIFICATES), fails, program=Program.INJECTOR, setup=short_lives, lasts=_LIFE + 3.0,
        ),
    )  # fmt: skip
