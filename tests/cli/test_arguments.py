"""The completion script that is made of the arguments."""

import subprocess

import pytest

from tests.cli.command_result import run_osm


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("osm names", ["namespace"]),
        ("osm namespace re", ["remove"]),
        ("osm proxy get con", ["config_dump"]),
        ("osm verify control-plane --fi", ["--fix"]),
    ],
)
def test_bash_completes_words(words: str, completed: list[str]) -> None:
    script = run_osm("completion", "bash").out
    complete = f"COMP_WORDS=({words}); COMP_CWORD={len(words.split()) - 1}\n_shtab_osm; echo ${{COMPREPLY[@]}}"
    process = subprocess.run(
        ["bash", "-c", f"{script}\n{complete}"], capture_output=True, text=True, check=False, timeout=10
    )
    assert process.stdout.split() == completed
