import os
import subprocess
import sys

from osm_probes.health.lifecycle import Phase
from osm_probes.health.pulse import Pulse


def test_a_new_pulse_has_just_beaten_and_is_starting() -> None:
    pulse = Pulse.create(clock=lambda: 7_000_000_000)
    vitals = pulse.read()
    assert (vitals.beat_age, vitals.phase, vitals.has_served) == (0.0, Phase.STARTING, False)
    pulse.close()


def test_the_age_of_the_beat_is_in_seconds() -> None:
    now = 1_000_000_000
    pulse = Pulse.create(clock=lambda: now)
    now += 2_500_000_000
    assert pulse.read().beat_age == 2.5
    pulse.beat()
    assert pulse.read().beat_age == 0.0
    pulse.close()


def test_a_reader_that_slept_counts_from_its_own_wake_up() -> None:
    now = 1_000_000_000
    pulse = Pulse.create(clock=lambda: now)
    now += 60_000_000_000
    assert pulse.read(not_before=now - 500_000_000).beat_age == 0.5
    pulse.close()


def test_another_process_reads_it_by_its_descriptor() -> None:
    pulse = Pulse.create()
    pulse.show(Phase.DRAINING, has_served=True)
    program = (
        "import sys\n"
        "from osm_probes.health.pulse import Pulse\n"
        "vitals = Pulse(int(sys.argv[1])).read()\n"
        "print(vitals.phase.name, vitals.has_served, vitals.beat_age < 20)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, str(pulse.descriptor)],
        pass_fds=[pulse.descriptor],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert said.stdout.split() == ["DRAINING", "True", "True"]
    assert not os.get_inheritable(pulse.descriptor)
    pulse.close()
