"""The state of one session, without a browser: a history of documents, a selection and locks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.regions import REGIONS, resolve
from imhead.studio.state.commands.command import Command, Draft, Scope
from imhead.studio.state.document import Document, first_document
from imhead.studio.state.history import History, HistoryStep
from imhead.types import Head


@dataclass(frozen=True)
class Settings:
    """What a person has set; undo does not change it."""

    selection: tuple[str, ...] = ()
    """Names of the selected regions, in region order."""
    symmetric: bool = True
    """Whether edits are mirrored to the other side."""
    locked: frozenset[str] = field(default=frozenset())
    """Names of the regions that no edit may change."""


class Studio:
    """The state of a session. Not thread-safe.

    Args:
        model: the model of its heads.
        history: the steps of an opened project; by default the session starts with the mean head.
        settings: the selection and the locks.
    """

    def __init__(self, model: Model, history: History | None = None, settings: Settings = Settings()) -> None:
        self.model = model
        self.history = history or History(HistoryStep(None, "start", first_document(model.neutral())))
        self.settings = settings
        self._draft: tuple[Draft, Document] | None = None

    @property
    def document(self) -> Document:
        """The shown document: the draft's if there is one, else that of the shown step."""
        return self._draft[1] if self._draft else self.history.document

    @property
    def drafting(self) -> bool:
        """Whether the shown document is a draft."""
        return self._draft is not None

    @property
    def head(self) -> Head:
        """The shown head."""
        return self.document.head

    @property
    def scope(self) -> Scope:
        """The regions an edit may change now."""
        return Scope(self.settings.selection, self.settings.symmetric, self.settings.locked)

    @property
    def before(self) -> Head:
        """The shown head as it was when it was added to the session."""
        return self.document.current.origin

    def do(self, command: Command) -> None:
        """Apply a command and add it to the history. A draft becomes a step first.

        Raises:
            InputError: the command cannot be applied; then the document stays as it is.
        """
        self.settle()
        self._add(command, command.apply(self.model, self.history.document))

    def draft(self, command: Draft) -> None:
        """Show the effect of a command without a step. A draft of another control becomes a step first.

        Raises:
            InputError: the command cannot be applied; an earlier draft of the control stays.
        """
        if self._draft is not None and self._draft[0].control != command.control:
            self.settle()
        self._draft = (command, command.apply(self.model, self.history.document))

    def settle(self) -> bool:
        """Turn the draft into a step of the history; returns whether there was one."""
        if self._draft is None:
            return False
        command, document = self._draft
        self._draft = None
        self._add(command, document)
        return True

    def _add(self, command: Command, document: Document) -> None:
        self.history.add(command.label + (", stopped before" if document.note else ""), document)

    def undo(self) -> None:
        """Go one step back; a draft counts as a step."""
        self.settle()
        self.history.undo()

    def redo(self) -> None:
        """Go one step forward."""
        self.settle()
        self.history.redo()

    def jump(self, number: int) -> None:
        """Go to any step of the history.

        Raises:
            InputError: there is no such step.
        """
        self.settle()
        self.history.jump(number)

    def select(self, names: str | tuple[str, ...], *, add: bool = False) -> None:
        """Select regions or groups; with `add`, add them to the selection, or remove them if all are in it.

        Raises:
            InputError: a name is unknown.
        """
        wanted = {region.name for region in resolve(names)} if names else set()
        chosen = set(self.settings.selection)
        if add:
            wanted = chosen - wanted if wanted <= chosen else chosen | wanted
        ordered = tuple(region.name for region in REGIONS if region.name in wanted)
        self.settings = replace(self.settings, selection=ordered)

    def set_symmetric(self, symmetric: bool) -> None:
        """Set whether edits are mirrored to the other side."""
        self.settings = replace(self.settings, symmetric=symmetric)

    def set_locked(self, names: tuple[str, ...], locked: bool) -> None:
        """Lock or unlock regions.

        Raises:
            InputError: no name is given, or one is unknown.
        """
        if not names:
            raise InputError("no region is selected; click one on the head first")
        chosen = frozenset(region.name for region in resolve(names))
        all_locked = self.settings.locked | chosen if locked else self.settings.locked - chosen
        self.settings = replace(self.settings, locked=all_locked)
