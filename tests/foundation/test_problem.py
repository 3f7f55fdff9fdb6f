from osm_probes.foundation.problem import Problem


def test_without_a_detail_the_summary_is_the_whole_text() -> None:
    assert not Problem()
    assert str(Problem("not listed yet: pods")) == "not listed yet: pods"
    assert str(Problem("invalid objects: 1", "Pod shop/till: no")) == "Pod shop/till: no"


def test_an_introduction_comes_before_both_texts() -> None:
    problem = Problem("invalid objects: 1", "Pod shop/till: no").after("the last good mesh is served")
    assert problem.summary == "the last good mesh is served: invalid objects: 1"
    assert problem.detail == "the last good mesh is served: Pod shop/till: no"
