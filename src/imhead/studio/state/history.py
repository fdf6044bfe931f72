"""The steps of a session as a tree: unlimited undo and redo, and undone branches are kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

from imhead.errors import InputError, one_line
from imhead.studio.state.document import Document

LONGEST_LABEL = 60
"""Characters of a step's own name."""


@dataclass(frozen=True, eq=False)
class HistoryStep:
    """One state of the document and the change that led to it."""

    parent: int | None
    """Number of the step before; None for the first step."""
    label: str
    """The change, in one line."""
    document: Document
    """The document after the change."""
    named: bool = False
    """Whether a person named it."""


class History:
    """Steps in the order they were made; a step's number is its row.

    Args:
        first: the step without a parent.
        later: the other steps, each after its parent.
        at: number of the shown step.

    Raises:
        InputError: a step comes before its parent, or there is no step `at`.
    """

    def __init__(self, first: HistoryStep, *later: HistoryStep, at: int = 0) -> None:
        self._steps = [first, *later]
        self._redo_child: dict[int, int] = {}
        for number, step in enumerate(self._steps):
            self._check(number, step)
            if step.parent is not None:
                self._redo_child[step.parent] = number
        if not 0 <= at < len(self._steps):
            raise InputError(f"there is no step {at}; the history has {len(self._steps)}")
        self._at = at

    @property
    def steps(self) -> tuple[HistoryStep, ...]:
        """All steps, of all branches."""
        return tuple(self._steps)

    @property
    def at(self) -> int:
        """Number of the shown step."""
        return self._at

    @property
    def document(self) -> Document:
        """Document of the shown step."""
        return self._steps[self._at].document

    def add(self, label: str, document: Document) -> None:
        """Add a step after the shown one and show it."""
        self._steps.append(HistoryStep(self._at, label, document))
        self._redo_child[self._at] = len(self._steps) - 1
        self._at = len(self._steps) - 1

    def rename(self, number: int, label: str) -> None:
        """Give a step a name of one's own.

        Raises:
            InputError: there is no such step, or the name is empty.
        """
        if not 0 <= number < len(self._steps):
            raise InputError(f"there is no step {number}; the history has {len(self._steps)}")
        if not label.strip():
            raise InputError("a step needs a name; type one")
        self._steps[number] = replace(self._steps[number], label=one_line(label, LONGEST_LABEL), named=True)

    def undo(self) -> None:
        """Go one step back, if there is one."""
        parent = self._steps[self._at].parent
        if parent is not None:
            # redo returns along the branch that was undone, even if another one is newer
            self._redo_child[parent] = self._at
            self._at = parent

    def redo(self) -> None:
        """Go one step forward along the branch shown last, if there is one."""
        self._at = self._redo_child.get(self._at, self._at)

    def jump(self, number: int) -> None:
        """Go to any step.

        Raises:
            InputError: there is no such step.
        """
        if not 0 <= number < len(self._steps):
            raise InputError(f"there is no step {number}; the history has {len(self._steps)}")
        self._at = number
        while (parent := self._steps[number].parent) is not None:
            self._redo_child[parent] = number
            number = parent

    def line(self) -> tuple[int, ...]:
        """Numbers of the steps on the shown branch, from the first step to the last one that redo reaches."""
        before, number = [self._at], self._at
        while (parent := self._steps[number].parent) is not None:
            before.append(parent)
            number = parent
        after, number = [], self._at
        while number in self._redo_child:
            number = self._redo_child[number]
            after.append(number)
        return (*reversed(before), *after)

    def _check(self, number: int, step: HistoryStep) -> None:
        valid = step.parent is None if number == 0 else step.parent is not None and 0 <= step.parent < number
        if not valid:
            raise InputError(f"step {number} of the history follows no earlier step; the project is damaged")
