import os
import subprocess
import sys

from osm_probes.health.heartbeat import Heartbeat
from osm_probes.health.lifecycle import Phase


def test_a_new_heartbeat_has_just_beaten_and_is_starting() -> None:
    heartbeat = Heartbeat.create(clock=lambda: 7_000_000_000)
    reading = heartbeat.read()
    assert (reading.beat_age, reading.phase, reading.has_served) == (0.0, Phase.STARTING, False)
    heartbeat.close()


def test_the_age_of_the_beat_is_in_seconds() -> None:
    now = 1_000_000_000
    heartbeat = Heartbeat.create(clock=lambda: now)
    now += 2_500_000_000
    assert heartbeat.read().beat_age == 2.5
    heartbeat.beat()
    assert heartbeat.read().beat_age == 0.0
    heartbeat.close()


def test_the_beat_counts_from_the_wake_up_of_a_reader_that_slept() -> None:
    now = 1_000_000_000
    heartbeat = Heartbeat.create(clock=lambda: now)
    now += 60_000_000_000
    assert heartbeat.read(not_before=now - 500_000_000).beat_age == 0.5
    heartbeat.close()


def test_another_process_reads_it_by_its_descriptor() -> None:
    heartbeat = Heartbeat.create()
    heartbeat.show(Phase.DRAINING, has_served=True)
    program = (
        "import sys\n"
        "from osm_probes.health.heartbeat import Heartbeat\n"
        "reading = Heartbeat(int(sys.argv[1])).read()\n"
        "print(reading.phase.name, reading.has_served, reading.beat_age < 20)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, str(heartbeat.descriptor)],
        pass_fds=[heartbeat.descriptor],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert said.stdout.split() == ["DRAINING", "True", "True"]
    assert not os.get_inheritable(heartbeat.descriptor)
    heartbeat.close()
