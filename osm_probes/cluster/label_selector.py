"""A label selector and labels -> whether it selects them, by the rules of Kubernetes.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

from collections.abc import Iterator, Mapping

import msgspec


class Requirement(msgspec.Struct, frozen=True):
    """A condition on one label."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def accepts(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels meet the condition."""
        value = labels.get(self.key)
        return {
            "In": value in self.values,
            "NotIn": value not in self.values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }.get(self.operator, False)


class LabelSelector(msgspec.Struct, frozen=True, rename="camel"):
    """A selector; an empty one selects everything."""

    match_labels: dict[str, str] | None = None
    match_expressions: tuple[Requirement, ...] | None = None

    @property
    def requirements(self) -> Iterator[Requirement]:
        """All conditions, which must all be met."""
        yield from (Requirement(key, "In", (value,)) for key, value in (self.match_labels or {}).items())
        yield from self.match_expressions or ()

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        return all(requirement.accepts(labels) for requirement in self.requirements)

    @property
    def selects_nothing(self) -> bool:
        """Whether its conditions contradict each other, so that no labels can meet them all."""
        requirements = list(self.requirements)
        return not all(_possible([each for each in requirements if each.key == key]) for key in _keys(requirements))


def _keys(requirements: list[Requirement]) -> set[str]:
    return {requirement.key for requirement in requirements}


def _possible(same_key: list[Requirement]) -> bool:
    """Whether any value of the label, or its absence, meets all of these conditions."""
    key = same_key[0].key
    # A value that no condition names stands for all such values. "/" is not allowed in a value.
    values = {value for requirement in same_key for value in requirement.values} | {"/"}
    candidates: list[dict[str, str]] = [{}, *({key: value} for value in values)]
    return any(all(requirement.accepts(labels) for requirement in same_key) for labels in candidates)
