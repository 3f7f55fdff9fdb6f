import pytest

from tests.fuzz.target import FuzzTarget, run_batch
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_the_first_inputs_of_a_fuzzer_show_no_fault(target: FuzzTarget) -> None:
    with target.opened() as check:
        run_batch(target, check, number=0, examples=30)
