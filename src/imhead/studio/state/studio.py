"""One person's session without a browser: a history of documents, a selection, locks. Panels only call this."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.regions import REGIONS, resolve
from imhead.studio.state.commands import Command, Draft, Scope
from imhead.studio.state.document import Document, first_document
from imhead.studio.state.history import History, Step
from imhead.types import Head


@dataclass(frozen=True)
class Settings:
    """What a person has set, which no undo changes."""

    selection: tuple[str, ...] = ()
    """Names of the selected regions, in region order."""
    symmetric: bool = True
    """Whether edits are mirrored to the other side."""
    locked: frozenset[str] = field(default=frozenset())
    """Regions that no edit may change."""


class Studio:
    """The state of a session. Not for several threads at once.

    Args:
        history: of a project that is opened; by default the session starts with the mean head.
    """

    def __init__(self, model: Model, history: History | None = None, settings: Settings = Settings()) -> None:
        self.model = model
        self.history = history or History(Step(None, "start", first_document(model.neutral())))
        self.settings = settings
        self._draft: tuple[Draft, Document] | None = None

    @property
    def document(self) -> Document:
        """What is shown: the draft where there is one, else the step that the history is at."""
        return self._draft[1] if self._draft else self.history.document

    @property
    def head(self) -> Head:
        """The head that is shown."""
        return self.document.head

    @property
    def scope(self) -> Scope:
        """What an edit may touch now."""
        return Scope(self.settings.selection, self.settings.symmetric, self.settings.locked)

    @property
    def before(self) -> Head:
        """The head that is shown, as it was when it came into the library."""
        return self.document.current.origin

    def do(self, command: Command) -> None:
        """Carry out a command and add it to the history; a draft is settled first.

        Raises:
            InputError: it cannot be done; nothing has changed then, but a draft is settled.
        """
        self.settle()
        self.history.add(command.label, command.apply(self.model, self.history.document))

    def draft(self, command: Draft) -> None:
        """Show what a command would do, in place of an earlier draft of the same control; another one's is settled.

        Raises:
            InputError: it cannot be done; the earlier draft stands.
        """
        if self._draft is not None and self._draft[0].control != command.control:
            self.settle()
        self._draft = (command, command.apply(self.model, self.history.document))

    def settle(self) -> bool:
        """Make the draft a step of the history. Whether there was one."""
        if self._draft is None:
            return False
        command, document = self._draft
        self._draft = None
        self.history.add(command.label, document)
        return True

    def undo(self) -> None:
        """One step back; a draft counts as one."""
        self.settle()
        self.history.undo()

    def redo(self) -> None:
        """One step on."""
        self.settle()
        self.history.redo()

    def jump(self, number: int) -> None:
        """To any step of the history."""
        self.settle()
        self.history.jump(number)

    def select(self, names: str | tuple[str, ...], *, add: bool = False) -> None:
        """Select regions or groups; with `add`, put them to the selection, or take them out if all are in it.

        Raises:
            InputError: an unknown name.
        """
        wanted = {region.name for region in resolve(names)} if names else set()
        chosen = set(self.settings.selection)
        if add:
            wanted = chosen - wanted if wanted <= chosen else chosen | wanted
        ordered = tuple(region.name for region in REGIONS if region.name in wanted)
        self.settings = replace(self.settings, selection=ordered)

    def set_symmetric(self, symmetric: bool) -> None:
        """Whether the other side follows every edit."""
        self.settings = replace(self.settings, symmetric=symmetric)

    def set_locked(self, names: tuple[str, ...], locked: bool) -> None:
        """Lock regions against every edit, or take the lock off.

        Raises:
            InputError: no name, or an unknown one.
        """
        if not names:
            raise InputError("no region is selected; click one on the head first")
        chosen = frozenset(region.name for region in resolve(names))
        kept = self.settings.locked | chosen if locked else self.settings.locked - chosen
        self.settings = replace(self.settings, locked=kept)
