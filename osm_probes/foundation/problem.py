"""A problem as two texts: one for everybody, and one with the names of what it is about."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong; false if nothing is.

    summary: for everybody who reaches a probe port. It may contain counts and names of kinds, but no names of
    identities, pods, namespaces, files or other objects, and no text from outside. detail: the whole text, for logs and
    the debug port; "" means that there is no more to say.
    """

    summary: str = ""
    detail: str = ""

    def __bool__(self) -> bool:
        return bool(self.summary)

    def __str__(self) -> str:
        """The whole text."""
        return self.detail or self.summary

    def after(self, introduction: str) -> "Problem":
        """The same problem, with an introduction before both texts."""
        return Problem(f"{introduction}: {self.summary}", f"{introduction}: {self}")
