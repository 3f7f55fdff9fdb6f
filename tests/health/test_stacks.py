import os

from osm_probes.health.stacks import REQUEST, StackFile


def test_a_program_writes_its_stacks_on_request_and_again_after_they_were_cleared() -> None:
    stacks = StackFile.create()
    for _ in range(2):
        os.kill(os.getpid(), REQUEST)
        text = stacks.read(limit=65536)
        assert text.count("test_a_program_writes_its_stacks") == 1
        assert "\0" not in text  # no hole where the first ones were
        assert stacks.size == len(text.encode())
        stacks.clear()
    assert stacks.read(limit=65536) == ""
    stacks.close()


def test_stacks_have_files_lines_and_functions_but_no_values() -> None:
    password = "hush-in-a-local-variable"
    stacks = StackFile.create()
    os.kill(os.getpid(), REQUEST)
    text = stacks.read(limit=65536)
    stacks.close()
    assert "test_stacks_have_files" in text
    assert password not in text


def test_stacks_are_read_up_to_the_limit() -> None:
    stacks = StackFile.create()
    os.write(stacks.descriptor, b"x" * 100_000)
    assert len(stacks.read(limit=65536)) == 65536
    stacks.close()
