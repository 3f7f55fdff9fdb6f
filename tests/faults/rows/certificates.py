"""Rows: expired certificates, a replaced CA, a changed clock."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from osm_probes.pki.authority import ROOT_VALIDITY, Authority
from osm_probes.pki.ca_folder import load_or_create_authority
from tests.faults import injected_code
from tests.faults.compare import Alive, Expectation, Truth
from tests.faults.row import Action, FaultError, Mode, Program, Row, executing, no_action
from tests.faults.testbed import FaultTestbed

_VALIDITY = 12
"""The validity of short-lived certificates, in seconds. They are renewed after two thirds of it, 8 s."""


@contextlib.contextmanager
def short_validity(testbed: FaultTestbed) -> Iterator[None]:
    """Make certificates valid for only some seconds."""
    file = testbed.mesh / "mesh.yaml"
    file.write_text(file.read_text().replace("24h", f"{_VALIDITY}s"))
    yield


def issuing(code: str) -> Action:
    """Inject code that changes how the CA issues certificates, and restore it afterwards."""
    return executing(code, undo=injected_code.RESTORE_ISSUING)


@contextlib.contextmanager
def expiring_root(testbed: FaultTestbed) -> Iterator[None]:
    """Make a root certificate that expires after 12 s."""

    def twelve_seconds_before_the_end() -> datetime:
        return datetime.now(UTC) - ROOT_VALIDITY + timedelta(seconds=12)

    root = Authority.create("osm-ca", now=twelve_seconds_before_the_end)
    (testbed.ca / "ca.crt").write_bytes(root.root_pem)
    (testbed.ca / "private.key").write_bytes(root.key_pem)
    yield


@contextlib.contextmanager
def connected_proxies(testbed: FaultTestbed) -> Iterator[None]:
    """Keep the streams of 20 proxies open while certificates are renewed repeatedly."""
    with testbed.load("hold", 20):
        yield


@contextlib.contextmanager
def another_ca(testbed: FaultTestbed) -> Iterator[None]:
    """Replace the CA's certificate and key in the folder with those of another CA."""
    fresh = testbed.folder / "fresh"
    load_or_create_authority(fresh, common_name="osm-ca")
    shutil.copytree(fresh, testbed.ca, dirs_exist_ok=True)
    yield


@contextlib.contextmanager
def adjustable_clock(testbed: FaultTestbed) -> Iterator[None]:
    """Give program, judge, real clients and probes an adjustable wall clock; their monotonic clock is the machine's."""
    library = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
    if library is None:
        raise FaultError("libfaketime is missing: apt-get install faketime")
    _set_clock(testbed, 0)
    testbed.shared |= {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(testbed.folder / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    yield


def _set_clock(testbed: FaultTestbed, seconds: int) -> None:
    new = testbed.folder / "clock.new"
    new.write_text(f"{seconds:+d}\n")
    new.rename(testbed.folder / "clock")


def step(seconds: int) -> Callable[[FaultTestbed], AbstractContextManager[None]]:
    """Change the clock by `seconds`, and change it back."""

    @contextlib.contextmanager
    def action(testbed: FaultTestbed) -> Iterator[None]:
        _set_clock(testbed, seconds)
        yield
        _set_clock(testbed, 0)

    return action


def rows(_mode: Mode) -> tuple[Row, ...]:
    """The rows of this module."""
    fails = Expectation(Truth.FAILS, Alive.STAYS)
    unharmed = Expectation(Truth.HOLDS, Alive.STAYS)
    blocked = issuing(injected_code.REFUSE_TO_ISSUE)
    return (
        Row(
            "certificate-expired", f"ADS certificate expired ({_VALIDITY} s validity, renewal blocked)", blocked,
            fails, setup=short_validity, duration=_VALIDITY + 8.0,
        ),
        Row(
            "root-expired", "root certificate expired at runtime", no_action,
            Expectation(Truth.FAILS, Alive.STAYS, recovers_within=None), setup=expiring_root, duration=18.0,
        ),
        Row(
            "certificate-renewed", f"ADS certificate renewed every {_VALIDITY * 2 // 3} s", connected_proxies, unharmed,
            setup=short_validity, duration=25.0,
        ),
        Row("ca-changed", "CA in the folder replaced while proxies are connected", another_ca, unharmed),
        Row("clock-forward", "clock set one hour forward", step(3600), unharmed, setup=adjustable_clock),
        Row("clock-back", "clock set one hour back", step(-3600), unharmed, setup=adjustable_clock),
        Row(
            "injector-certificate-expired", f"certificate expired ({_VALIDITY} s validity, renewal blocked)",
            blocked, fails,
            program=Program.INJECTOR, setup=short_validity, duration=_VALIDITY + 8.0,
        ),
        Row(
            "injector-bundle-mismatched", "certificate issued by a CA that is not in the CA bundle",
            issuing(injected_code.ISSUE_FROM_ANOTHER_CA), fails, program=Program.INJECTOR, setup=short_validity,
            duration=_VALIDITY + 3.0,
        ),
    )  # fmt: skip
