from datetime import UTC, datetime, timedelta

from osm_probes.ads.events import Event, Rejection
from osm_probes.ads.known_proxies import KnownProxies
from osm_probes.ads.rejections import Rejections
from osm_probes.mesh.identity import ProxyName
from osm_probes.snapshot.snapshot import LISTENER, ROUTES
from tests.ads.client import proxy_name
from tests.ads.running_ads import RecordingObserver
from tests.log_capture import capture_logs

START = datetime(2026, 11, 29, 1, 0, tzinfo=UTC)
NAME = proxy_name()


class Recorder:
    """Rejections with a virtual clock, and what they reported."""

    def __init__(self, *, remembered: int = 100) -> None:
        self.seconds = 0.0
        self.observer = RecordingObserver()
        self.reports: list[tuple[ProxyName, str, str]] = []
        self.known = KnownProxies(limit=remembered)
        self.rejections = Rejections(
            self.known,
            observe=self.observer,
            clock=lambda: self.seconds,
            now=lambda: START + timedelta(seconds=self.seconds),
        )
        self.rejections.report = self.report

    def report(self, name: ProxyName, type_url: str, rejection: Rejection | None, /) -> None:
        self.reports.append((name, type_url, rejection.version if rejection else "accepted"))

    def nack(self, version: str, type_url: str = LISTENER) -> Rejection:
        return self.rejections.record_nack(NAME, type_url, version=version, detail="no")

    def ack(self, type_url: str = LISTENER) -> None:
        self.rejections.record_acceptance(NAME, type_url)

    @property
    def versions(self) -> list[str]:
        """The reported versions."""
        return [version for _, _, version in self.reports]


def test_each_rejected_version_counts_once() -> None:
    recorder = Recorder()
    for version in ("1", "1", "2"):
        recorder.nack(version)
    assert recorder.observer.events == [Event.REJECTED, Event.REJECTED]


def test_a_proxy_is_on_an_old_configuration_since_its_first_rejection_until_it_accepts_a_version() -> None:
    recorder = Recorder()
    recorder.nack("1")
    recorder.seconds = 60
    assert recorder.nack("2").since == START
    assert recorder.rejections.of(NAME) == (Rejection(LISTENER, "2", "no", START),)
    recorder.ack(ROUTES)
    assert recorder.rejections.of(NAME)
    recorder.ack()
    assert recorder.rejections.of(NAME) == ()
    recorder.seconds = 90
    assert recorder.nack("3").since == START + timedelta(seconds=90)


def test_a_rejection_and_its_end_are_logged_and_reported_once_each() -> None:
    recorder = Recorder()
    with capture_logs() as lines:
        for _ in range(3):
            recorder.nack("1")
        recorder.seconds = 75
        for _ in range(3):
            recorder.ack()
    assert [(line["event"], line["type"], line.get("after")) for line in lines] == [
        ("a proxy rejected its configuration", LISTENER, None),
        ("a proxy accepted its configuration again", LISTENER, 75.0),
    ]
    assert recorder.versions == ["1", "accepted"]


def test_a_proxy_that_alternates_is_reported_every_10_seconds_with_its_newest_state() -> None:
    recorder = Recorder()
    with capture_logs() as lines:
        for second in range(35):
            recorder.seconds = second
            for number in range(50):
                recorder.nack(f"{second}.{number}")
                recorder.ack()
            recorder.nack(f"{second}.last")
            recorder.rejections.flush()
    assert recorder.versions == ["0.0", "10.0", "20.0", "30.0"]
    assert len(lines) == 4
    recorder.seconds = 40
    recorder.rejections.flush()
    assert recorder.versions[-1] == "34.last"


def test_a_change_that_is_over_before_its_report_is_not_reported() -> None:
    recorder = Recorder()
    recorder.ack()
    recorder.nack("1")
    recorder.seconds = 20
    recorder.ack()
    recorder.nack("2")
    recorder.ack()
    recorder.seconds = 40
    recorder.rejections.flush()
    assert recorder.versions == ["1", "accepted"]


def test_types_of_a_proxy_are_reported_independently() -> None:
    recorder = Recorder()
    recorder.nack("1", LISTENER)
    recorder.nack("2", ROUTES)
    assert recorder.versions == ["1", "2"]


def test_changes_of_proxies_that_are_no_longer_remembered_are_forgotten() -> None:
    recorder = Recorder(remembered=1)
    recorder.nack("1")
    recorder.nack("2")
    recorder.rejections.record_nack(proxy_name(), LISTENER, version="3", detail="no")
    recorder.rejections.flush()
    assert (recorder.versions, recorder.rejections._delayed) == (["1", "3"], {})
