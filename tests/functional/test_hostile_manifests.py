"""Hostile files in a mesh folder: both programs live on, serve the last good mesh, and say what is wrong where."""

from collections.abc import Iterator

import pytest

from tests.functional.programs import Program, running
from tests.standin import until

MERGE_BOMB = "\n".join(
    ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 8))]
)
HOSTILE = {
    "bool": ("a: !!bool maybe", "document 1, line 1: 'maybe' is not of the type !!bool"),
    "timestamp": ("---\na: !!timestamp foo", "document 1, line 2: the tag '!!timestamp' is not supported"),
    "int": ("a: !!int ''", "document 1, line 1: '' is not of the type !!int"),
    "sexagesimal": ("x: " + "1:" * 100_000 + ".5", "document 1: kind: expected a string"),
    "merge-bomb": (MERGE_BOMB, "nodes, its aliases expanded"),
    "directives": ("%TAG !a! b\n" * 200_000 + "--- a", "more than 16 lines begin with %"),
    "depth": ("[" * 1_000_000, "document 1, line 1: nested too deep: more than 64 levels"),
    "duplicate": ("kind: Pod\nkind: Pod", "document 1, line 2: the key 'kind' is defined twice"),
    "bytes": ("\udcff", "line 1: byte 0xff is not UTF-8"),
}


@pytest.fixture(params=["osm-controller", "osm-injector"], scope="module")
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A program that is ready, with its mesh in the folder `mesh` beside its log."""
    with running(request.param, tmp_path_factory.mktemp("programs")) as started:
        assert started.served_port
        yield started


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_manifest_is_one_error_and_the_program_lives_on(program: Program, name: str) -> None:
    text, expected = HOSTILE[name]
    file = program.log.parent / "mesh" / f"{name}.yaml"
    valid_before = len(program.lines("the manifests are valid again"))
    file.write_bytes(text.encode(errors="surrogateescape"))
    until(lambda: any(name in error for error in errors(program)), within=20)
    [error] = [error for error in errors(program) if f"{name}.yaml" in error]
    assert expected in error
    assert program.get("/health/alive") == "Service is alive"
    file.unlink()
    until(lambda: len(program.lines("the manifests are valid again")) > valid_before, within=20)
    assert program.process.poll() is None


def errors(program: Program) -> list[str]:
    """The errors of invalid manifests in the log."""
    return [line["error"] for line in program.lines("a manifest is invalid: the last good mesh stays in use")]
