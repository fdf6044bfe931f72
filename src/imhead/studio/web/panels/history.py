"""The panel of the history: undo, steps, and the head before and now."""

from __future__ import annotations

import numpy as np
import viser
from numpy.typing import NDArray

from imhead.measure.table import MEASUREMENTS
from imhead.rendering.figures import legend
from imhead.studio.session.page_protocol import DISPLAY_MODES, DisplayMode
from imhead.studio.session.tab_session import TabSession
from imhead.studio.state.commands.edits import face_measurements
from imhead.studio.state.labels import readable_name, scale_label
from imhead.studio.state.studio import Studio
from imhead.studio.web.panels.widgets import put

_STEP_BUTTONS = 8
_LISTED_STEPS = 200  # the newest ones, of all branches; older ones are reached along their branch
_LEAST_LISTED_CHANGE = 0.1  # mm or degrees; smaller changes are not visible
_CAPTIONS: dict[DisplayMode, str] = {
    "now": "",
    "before": "as it was when it was added",
    "movement": "movement since it was added; red is outwards",
}


class HistoryPanel:
    """Undo, redo, steps to jump to, and the choice of what the view shows."""

    def __init__(self, gui: viser.GuiApi, session: TabSession) -> None:
        self._session = session
        self._undo_redo = gui.add_button_group("", ("undo", "redo"))
        self._undo_redo.on_click(self._step)
        self._display = gui.add_button_group("show", DISPLAY_MODES)
        self._display.on_click(self._set_display)
        self._legend = gui.add_image(_legend_image(1.0), visible=False, format="png")
        self._caption = gui.add_markdown("")
        self._steps: list[int] = []
        self._buttons = [gui.add_button("-", visible=False) for _ in range(_STEP_BUTTONS)]
        for row, button in enumerate(self._buttons):
            self._on_jump(row, button)
        self._all_steps = gui.add_dropdown("all steps", ("-",))
        self._all_steps.on_update(self._jump_to)

    def sync(self, studio: Studio) -> None:
        """Update the widgets from the state."""
        history = studio.history
        line = history.line()
        place = line.index(history.at)
        first = max(0, min(place - _STEP_BUTTONS + 3, len(line) - _STEP_BUTTONS))
        self._steps = list(line[first : first + _STEP_BUTTONS])
        for row, button in enumerate(self._buttons):
            button.visible = row < len(self._steps)
            if row < len(self._steps):
                number = self._steps[row]
                button.label = history.steps[number].label[:44]
                button.color = "blue" if number == history.at else "gray"
        numbers = sorted({*range(max(0, len(history.steps) - _LISTED_STEPS), len(history.steps)), history.at})
        options = tuple(f"{k}: {history.steps[k].label[:40]}" for k in numbers)
        if self._all_steps.options != options:
            self._all_steps.options = options
        put(self._all_steps, options[numbers.index(history.at)])
        caption = _CAPTIONS[self._session.display]
        if self._session.display != "now":
            caption += _measurement_table(studio)
            caption += scale_label(studio.head.scale_assumed)
        self._caption.content = caption

    def show_legend(self, limit_mm: float) -> None:
        """Show the heat map's scale up to `limit_mm`; 0 hides it."""
        self._legend.visible = limit_mm > 0.0
        if limit_mm > 0.0:
            self._legend.image = _legend_image(limit_mm)

    def _on_jump(self, row: int, button: viser.GuiButtonHandle) -> None:
        @button.on_click
        async def _(event: viser.GuiEvent[viser.GuiButtonHandle]) -> None:
            number = self._steps[row]
            self._session.change(lambda studio: studio.jump(number))

    async def _step(self, event: viser.GuiEvent[viser.GuiButtonGroupHandle]) -> None:
        self._session.change(Studio.undo if self._undo_redo.value == "undo" else Studio.redo)

    async def _set_display(self, event: viser.GuiEvent[viser.GuiButtonGroupHandle]) -> None:
        self._session.set_display(DISPLAY_MODES[DISPLAY_MODES.index(self._display.value)])

    async def _jump_to(self, event: viser.GuiEvent[viser.GuiDropdownHandle[str]]) -> None:
        if event.client is not None:
            number = int(self._all_steps.value.partition(":")[0])
            self._session.change(lambda studio: studio.jump(number))


def _measurement_table(studio: Studio) -> str:
    """Markdown table of the measurements that differ; empty if none does."""
    before, after = face_measurements(studio.model, studio.before), face_measurements(studio.model, studio.head)
    rows = [
        f"| {readable_name(m.name)} | {before[m.name]:.1f} | {after[m.name]:.1f} | {m.unit} |"
        for m in MEASUREMENTS
        if abs(after[m.name] - before[m.name]) >= _LEAST_LISTED_CHANGE
    ]
    return "\n\n" + "\n".join(["| | before | now | |", "|---|---|---|---|", *rows]) if rows else ""


def _legend_image(limit_mm: float) -> NDArray[np.uint8]:
    """(H, W, 3) picture of the heat map's scale."""
    return np.asarray(legend(limit_mm, width=300, title="movement, mm").convert("RGB"))
