"""The steps of a session as a tree: undo and redo without limit, and a branch that was left is kept."""

from __future__ import annotations

from dataclasses import dataclass

from imhead.errors import InputError
from imhead.studio.state.document import Document


@dataclass(frozen=True, eq=False)
class Step:
    """One state of the document and how it came to be."""

    parent: int | None
    """Number of the step before; None for the first one."""
    label: str
    """What was done."""
    document: Document
    """The document after it."""


class History:
    """Steps in the order in which they were made; a step's number is its row."""

    def __init__(self, first: Step, *later: Step, at: int = 0) -> None:
        self._steps = [first, *later]
        self._newest_child: dict[int, int] = {}
        for number, step in enumerate(self._steps):
            self._check(number, step)
            if step.parent is not None:
                self._newest_child[step.parent] = number
        if not 0 <= at < len(self._steps):
            raise InputError(f"there is no step {at}; the history has {len(self._steps)}")
        self._at = at

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps, those of other branches included."""
        return tuple(self._steps)

    @property
    def at(self) -> int:
        """Number of the step that is shown."""
        return self._at

    @property
    def document(self) -> Document:
        """The document that is shown."""
        return self._steps[self._at].document

    @property
    def can_undo(self) -> bool:
        """Whether there is a step before."""
        return self._steps[self._at].parent is not None

    @property
    def can_redo(self) -> bool:
        """Whether there is a step to go on to."""
        return self._at in self._newest_child

    def add(self, label: str, document: Document) -> None:
        """A new step after the one that is shown."""
        self._steps.append(Step(self._at, label, document))
        self._newest_child[self._at] = len(self._steps) - 1
        self._at = len(self._steps) - 1

    def undo(self) -> None:
        """Go to the step before, if there is one."""
        parent = self._steps[self._at].parent
        if parent is not None:
            # redo comes back to where one was, not to the branch that was made last
            self._newest_child[parent] = self._at
            self._at = parent

    def redo(self) -> None:
        """Go on along the branch that was left last, if there is one."""
        self._at = self._newest_child.get(self._at, self._at)

    def jump(self, number: int) -> None:
        """Go to any step.

        Raises:
            InputError: there is no such step.
        """
        if not 0 <= number < len(self._steps):
            raise InputError(f"there is no step {number}; the history has {len(self._steps)}")
        self._at = number
        while (parent := self._steps[number].parent) is not None:
            self._newest_child[parent] = number
            number = parent

    def line(self) -> tuple[int, ...]:
        """Numbers of the steps on the branch that is shown, from the first to the last that redo reaches."""
        before, number = [self._at], self._at
        while (parent := self._steps[number].parent) is not None:
            before.append(parent)
            number = parent
        after, number = [], self._at
        while number in self._newest_child:
            number = self._newest_child[number]
            after.append(number)
        return (*reversed(before), *after)

    def _check(self, number: int, step: Step) -> None:
        known = step.parent is None if number == 0 else step.parent is not None and 0 <= step.parent < number
        if not known:
            raise InputError(f"step {number} of the history follows no earlier one; the project is damaged")
