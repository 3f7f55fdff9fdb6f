import jsonpatch
from hypothesis import given
from hypothesis import strategies as st

from osm_probes.admission.json_patch import add, remove


@given(st.text())
def test_every_name_can_be_added_and_removed(name: str) -> None:
    added = jsonpatch.apply_patch({"in": {}}, [add("in", name, value=1)])
    assert added == {"in": {name: 1}}
    assert jsonpatch.apply_patch(added, [remove("in", name)]) == {"in": {}}


def test_slashes_and_tildes_are_escaped_once() -> None:
    assert add("a/b~1", value=0)["path"] == "/a~1b~01"
