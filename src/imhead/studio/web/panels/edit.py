"""The panel of edits: the selection, and what can be done with it."""

from __future__ import annotations

import secrets

import viser

from imhead.editing import readings_of, shapes_of
from imhead.editing.words import OPPOSITES
from imhead.measure.table import MEASUREMENTS, Measurement
from imhead.regions import resolve
from imhead.studio.session.tab_session import TabSession
from imhead.studio.state.commands.edits import (
    MOST_BLENDED,
    MOST_SIGMA,
    BlendHeads,
    CopyRegions,
    MoveAlong,
    MoveByWord,
    ResetRegions,
    SampleRegions,
    SetMeasurement,
    face_measurements,
)
from imhead.studio.state.labels import measured_label, readable_name, regions_label
from imhead.studio.state.studio import Studio
from imhead.studio.web.panels.widgets import put

_SHAPE_SLIDERS = 6
_WORD_SLIDERS = 6
_MOST_SLIDERS = 9  # of both kinds together; more do not fit a small window
_OPPOSITE_OF = {word: opposite for opposite, word in OPPOSITES.items()}
_GROUP_ROWS = (
    ("eyes", "brow", "nose"),
    ("mouth", "chin", "jaw"),
    ("ears", "cheek", "temple"),
    ("forehead", "scalp", "neck"),
)
_SLIDER_TOLERANCE = 0.02  # a slider this close to the state is not set: a person may be dragging it


class EditPanel:
    """Selection, locks, sliders, random sample, reset, measurements, copy and blend."""

    def __init__(self, gui: viser.GuiApi, session: TabSession) -> None:
        self._session = session
        self._selection = gui.add_markdown("")
        for k, row in enumerate(_GROUP_ROWS):
            self._add_groups(gui, row, "select" if k == 0 else "")
        self._symmetric = gui.add_checkbox("mirror edits", True, hint="change both sides in the same way")
        self._locked = gui.add_checkbox("lock this selection", False, hint="locked regions do not change")
        self._symmetric.on_update(self._set_symmetric)
        self._locked.on_update(self._set_locked)
        marks = ((-2.0, "-2σ"), (0.0, "0"), (2.0, "2σ"))
        self._word_sliders = [
            gui.add_slider("-", -MOST_SIGMA, MOST_SIGMA, 0.05, 0.0, marks=marks, visible=False)
            for _ in range(_WORD_SLIDERS)
        ]
        for slider in self._word_sliders:
            self._on_word(slider)
        self._shape_sliders = [
            gui.add_slider(f"shape {k + 1}", -MOST_SIGMA, MOST_SIGMA, 0.05, 0.0, marks=marks, visible=False)
            for k in range(_SHAPE_SLIDERS)
        ]
        for k, slider in enumerate(self._shape_sliders):
            self._on_shape(k, slider)
        self._note = gui.add_markdown("")
        self._sample = gui.add_button("sample", icon=viser.Icon.DICE, hint="replace the selection by a random one")
        self._sample.on_click(self._draw_sample)
        self._reset = gui.add_button(
            "reset", icon=viser.Icon.ROTATE, hint="restore the selection as it was when the head was added"
        )
        self._reset.on_click(self._reset_regions)
        with gui.add_folder("Measurements", expand_by_default=False):
            self._measurement = gui.add_dropdown("measure", tuple(readable_name(m.name) for m in MEASUREMENTS))
            self._current = gui.add_markdown("")
            self._target = gui.add_number("target", 0.0, step=0.1)
            gui.add_button("reach the target", icon=viser.Icon.RULER_MEASURE).on_click(self._reach)
        self._measurement.on_update(self._choose_measurement)
        self._values: dict[str, float] = {}
        self._scale_assumed = False
        with gui.add_folder("From another head", expand_by_default=False):
            self._other = gui.add_dropdown("head", ("-",))
            self._strength = gui.add_slider("how much", 0.0, 1.0, 0.05, 1.0)
            gui.add_button("copy the selection").on_click(self._copy)
        with gui.add_folder("Blend heads", expand_by_default=False):
            self._shares = [gui.add_slider("-", 0.0, 1.0, 0.05, 0.0, visible=False) for _ in range(MOST_BLENDED)]
        for share in self._shares:
            share.on_update(self._blend)

    def sync(self, studio: Studio) -> None:
        """Update the widgets from the state."""
        chosen, locked = studio.settings.selection, studio.settings.locked
        title = f"### {regions_label(chosen)}" if chosen else "### Click a region of the head"
        fixed = [name for name in chosen if name in locked]
        note = "" if not fixed else f"\n\nlocked: {regions_label(tuple(fixed))}"
        self._selection.content = title + note
        put(self._symmetric, studio.settings.symmetric)
        put(self._locked, bool(chosen) and len(fixed) == len(chosen))
        self._locked.disabled = self._sample.disabled = self._reset.disabled = not chosen
        self._sync_sliders(studio, tuple(name for name in chosen if name not in locked))
        self._note.content = studio.document.note
        self._sync_heads(studio.document.names())
        self._values = face_measurements(studio.model, studio.head)
        self._scale_assumed = studio.head.scale_assumed
        self._sync_measurement()

    def _chosen_measurement(self) -> Measurement:
        return MEASUREMENTS[self._measurement.options.index(self._measurement.value)]

    def _sync_measurement(self) -> None:
        kind = self._chosen_measurement()
        self._current.content = measured_label(kind, self._values[kind.name], self._scale_assumed)

    def _sync_sliders(self, studio: Studio, free: tuple[str, ...]) -> None:
        regions, mirror = resolve(free) if free else (), studio.settings.symmetric
        readings = readings_of(studio.model, studio.head, regions, mirror) if regions else {}
        known = tuple(readings)
        for k, slider in enumerate(self._word_sliders):
            slider.visible = k < len(known)
            if k < len(known):
                slider.label = known[k]
                slider.hint = f"{_OPPOSITE_OF[known[k]]} to the left, {known[k]} to the right"
                self._set(slider, readings[known[k]])
        shapes = shapes_of(studio.model, regions, mirror) if regions else None
        scores = () if shapes is None else shapes.scores(studio.model, studio.head)
        count = min(len(scores), _MOST_SLIDERS - len(known))
        for k, slider in enumerate(self._shape_sliders):
            slider.visible = k < count
            if shapes is not None and k < count:
                slider.label = f"shape {k + 1} · {100 * shapes.shares[k]:.0f} %"
                self._set(slider, float(scores[k]))

    def _set(self, slider: viser.GuiSliderHandle[float], sigma: float) -> None:
        value = min(max(sigma, -MOST_SIGMA), MOST_SIGMA)
        if abs(slider.value - value) > _SLIDER_TOLERANCE:
            put(slider, value)

    def _sync_heads(self, names: tuple[str, ...]) -> None:
        if self._other.options != names:
            self._other.options = names
        for k, share in enumerate(self._shares):
            share.visible = len(names) > 1 and k < len(names)
            if k < len(names):
                share.label = names[k]

    def _add_groups(self, gui: viser.GuiApi, row: tuple[str, ...], label: str) -> None:
        buttons = gui.add_button_group(label, row)

        @buttons.on_click
        async def _(event: viser.GuiEvent[viser.GuiButtonGroupHandle]) -> None:
            chosen = buttons.value
            self._session.change(lambda studio: studio.select(chosen))

    def _on_shape(self, index: int, slider: viser.GuiSliderHandle[float]) -> None:
        @slider.on_update
        async def _(event: viser.GuiEvent[viser.GuiSliderHandle[float]]) -> None:
            if event.client is not None:
                sigma = slider.value
                self._session.draft(lambda studio: MoveAlong(studio.scope, index, sigma))

    def _on_word(self, slider: viser.GuiSliderHandle[float]) -> None:
        @slider.on_update
        async def _(event: viser.GuiEvent[viser.GuiSliderHandle[float]]) -> None:
            if event.client is not None:
                word, sigma = slider.label, slider.value
                self._session.draft(lambda studio: MoveByWord(studio.scope, word, sigma))

    async def _draw_sample(self, event: viser.GuiEvent[viser.GuiButtonHandle]) -> None:
        seed = secrets.randbelow(1 << 31)
        self._session.change(lambda studio: studio.do(SampleRegions(studio.scope, seed)))

    async def _reset_regions(self, event: viser.GuiEvent[viser.GuiButtonHandle]) -> None:
        self._session.change(lambda studio: studio.do(ResetRegions(studio.scope)))

    async def _choose_measurement(self, event: viser.GuiEvent[viser.GuiDropdownHandle[str]]) -> None:
        kind = self._chosen_measurement()
        if kind.name in self._values:
            put(self._target, round(self._values[kind.name], 1))
            self._sync_measurement()

    async def _reach(self, event: viser.GuiEvent[viser.GuiButtonHandle]) -> None:
        name = self._chosen_measurement().name
        target = self._target.value
        self._session.change(lambda studio: studio.do(SetMeasurement(studio.scope, name, target)))

    async def _copy(self, event: viser.GuiEvent[viser.GuiButtonHandle]) -> None:
        name, strength = self._other.value, self._strength.value
        self._session.change(lambda studio: studio.do(CopyRegions(studio.scope, name, strength)))

    async def _blend(self, event: viser.GuiEvent[viser.GuiSliderHandle[float]]) -> None:
        shares = tuple((share.label, share.value) for share in self._shares if share.visible)
        if event.client is not None and sum(value for _, value in shares) > 0.0:
            self._session.draft(lambda studio: BlendHeads(studio.scope, shares))

    async def _set_symmetric(self, event: viser.GuiEvent[viser.GuiCheckboxHandle]) -> None:
        if event.client is not None:
            on = self._symmetric.value
            self._session.change(lambda studio: studio.set_symmetric(on))

    async def _set_locked(self, event: viser.GuiEvent[viser.GuiCheckboxHandle]) -> None:
        if event.client is not None:
            on = self._locked.value
            self._session.change(lambda studio: studio.set_locked(studio.settings.selection, on))
