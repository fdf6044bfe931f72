"""The steps of the session, and the head beside what it was."""

from __future__ import annotations

import numpy as np
import viser
from numpy.typing import NDArray

from imhead.measure.table import MEASUREMENTS
from imhead.rendering.figures import legend
from imhead.studio.session.tab_session import Comparison, TabSession
from imhead.studio.state.commands import measured, plain
from imhead.studio.state.studio import Studio
from imhead.studio.web.panels.widgets import put

_ROWS = 8
_LISTED = 200  # the newest steps, of all branches; older ones are reached along their branch
_LEAST_CHANGE = 0.1  # mm or degrees: less than this nobody sees
_COMPARISONS: dict[str, Comparison] = {"now": "after", "before": "before", "movement": "movement"}


class HistoryPanel:
    """Undo, redo, steps to jump to, before and after, and a heat map of the movement."""

    def __init__(self, gui: viser.GuiApi, session: TabSession) -> None:
        self._session = session
        self._moves = gui.add_button_group("", ("undo", "redo"))
        self._moves.on_click(self._move)
        self._compare = gui.add_button_group("show", tuple(_COMPARISONS))
        self._compare.on_click(self._choose)
        self._legend = gui.add_image(_legend(1.0), visible=False, format="png")
        self._told = gui.add_markdown("")
        self._steps: list[int] = []
        self._buttons = [gui.add_button("-", visible=False) for _ in range(_ROWS)]
        for row, button in enumerate(self._buttons):
            self._on_jump(row, button)
        self._others = gui.add_dropdown("all steps", ("-",))
        self._others.on_update(self._jump_to)

    def sync(self, studio: Studio) -> None:
        """Say what the state says."""
        history = studio.history
        line = history.line()
        place = line.index(history.at)
        first = max(0, min(place - _ROWS + 3, len(line) - _ROWS))
        self._steps = list(line[first : first + _ROWS])
        for row, button in enumerate(self._buttons):
            button.visible = row < len(self._steps)
            if row < len(self._steps):
                number = self._steps[row]
                button.label = history.steps[number].label[:44]
                button.color = "blue" if number == history.at else "gray"
        numbers = sorted({*range(max(0, len(history.steps) - _LISTED), len(history.steps)), history.at})
        options = tuple(f"{k}: {history.steps[k].label[:40]}" for k in numbers)
        if self._others.options != options:
            self._others.options = options
        put(self._others, options[numbers.index(history.at)])
        told = {"after": "", "before": "as it came into the session", "movement": "movement since then, outwards red"}
        self._told.content = told[self._session.comparison]
        if self._session.comparison != "after":
            self._told.content += _table(studio)

    def show_legend(self, limit_mm: float) -> None:
        """The colours of the heat map; 0 hides them."""
        self._legend.visible = limit_mm > 0.0
        if limit_mm > 0.0:
            self._legend.image = _legend(limit_mm)

    def _on_jump(self, row: int, button: viser.GuiButtonHandle) -> None:
        @button.on_click
        async def _(event: viser.GuiEvent[viser.GuiButtonHandle]) -> None:
            number = self._steps[row]
            self._session.change(lambda studio: studio.jump(number))

    async def _move(self, event: viser.GuiEvent[viser.GuiButtonGroupHandle]) -> None:
        self._session.change(Studio.undo if self._moves.value == "undo" else Studio.redo)

    async def _choose(self, event: viser.GuiEvent[viser.GuiButtonGroupHandle]) -> None:
        self._session.compare(_COMPARISONS[self._compare.value])

    async def _jump_to(self, event: viser.GuiEvent[viser.GuiDropdownHandle[str]]) -> None:
        if event.client is not None:
            number = int(self._others.value.partition(":")[0])
            self._session.change(lambda studio: studio.jump(number))


def _table(studio: Studio) -> str:
    """The measurements that differ, as Markdown."""
    before, after = measured(studio.model, studio.before), measured(studio.model, studio.head)
    rows = [
        f"| {plain(m.name)} | {before[m.name]:.1f} | {after[m.name]:.1f} | {m.unit} |"
        for m in MEASUREMENTS
        if abs(after[m.name] - before[m.name]) >= _LEAST_CHANGE
    ]
    return "\n\n" + "\n".join(["| | before | now | |", "|---|---|---|---|", *rows]) if rows else ""


def _legend(limit_mm: float) -> NDArray[np.uint8]:
    """The colours of the heat map as a picture."""
    return np.asarray(legend(limit_mm, width=300, title="movement, mm").convert("RGB"))
