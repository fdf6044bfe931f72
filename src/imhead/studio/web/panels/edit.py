"""What an edit touches, and the edits."""

from __future__ import annotations

import secrets

import viser

from imhead.editing.words import OPPOSITES
from imhead.measure.table import MEASUREMENTS
from imhead.regions import resolve
from imhead.studio.session.tab_session import TabSession
from imhead.studio.state.commands import (
    MOST_BLENDED,
    MOST_SIGMA,
    BlendHeads,
    MoveAlong,
    MoveByWord,
    ResetRegions,
    SampleRegions,
    SetMeasurement,
    TakeFrom,
    measured,
    plain,
    words,
)
from imhead.studio.state.scores import direction_shares, named_directions, region_scores, word_score
from imhead.studio.state.studio import Studio
from imhead.studio.web.panels.widgets import put

_SLIDERS = 6
_WORDS = 6
_ROWS = 9  # sliders of both kinds that a small window holds
_BACKWARDS = {forward: backward for backward, forward in OPPOSITES.items()}
_GROUP_ROWS = (
    ("eyes", "brow", "nose"),
    ("mouth", "chin", "jaw"),
    ("ears", "cheek", "temple"),
    ("forehead", "scalp", "neck"),
)
_CLOSE = 0.02  # a slider this near to the state is left alone: a person may be holding it


class EditPanel:
    """Selection, sliders, sample, take, blend, reset and locks."""

    def __init__(self, gui: viser.GuiApi, session: TabSession) -> None:
        self._session = session
        self._selection = gui.add_markdown("")
        for k, row in enumerate(_GROUP_ROWS):
            self._add_groups(gui, row, "select" if k == 0 else "")
        self._symmetric = gui.add_checkbox("both sides alike", True, hint="An edit of one side is mirrored")
        self._locked = gui.add_checkbox("lock this selection", False, hint="No edit changes what is locked")
        self._symmetric.on_update(self._set_symmetric)
        self._locked.on_update(self._set_locked)
        marks = ((-2.0, "-2σ"), (0.0, "0"), (2.0, "2σ"))
        self._words = [
            gui.add_slider("-", -MOST_SIGMA, MOST_SIGMA, 0.05, 0.0, marks=marks, visible=False) for _ in range(_WORDS)
        ]
        for slider in self._words:
            self._on_word(slider)
        self._sliders = [
            gui.add_slider(f"shape {k + 1}", -MOST_SIGMA, MOST_SIGMA, 0.05, 0.0, marks=marks, visible=False)
            for k in range(_SLIDERS)
        ]
        for k, slider in enumerate(self._sliders):
            self._on_slide(k, slider)
        self._sample = gui.add_button("sample", icon=viser.Icon.DICE, hint="draw the selection anew")
        self._sample.on_click(self._draw)
        self._reset = gui.add_button("reset", icon=viser.Icon.ROTATE, hint="back to how the head came in")
        self._reset.on_click(self._put_back)
        self._measures = gui.add_folder("Measurements", expand_by_default=False)
        with self._measures:
            self._kind = gui.add_dropdown("measure", tuple(plain(m.name) for m in MEASUREMENTS))
            self._now = gui.add_markdown("")
            self._target = gui.add_number("target", 0.0, step=0.1)
            gui.add_button("change to the target", icon=viser.Icon.RULER_MEASURE).on_click(self._reach)
        self._kind.on_update(self._choose_kind)
        self._values: dict[str, float] = {}
        with gui.add_folder("From another head", expand_by_default=False):
            self._other = gui.add_dropdown("head", ("-",))
            self._amount = gui.add_slider("how much", 0.0, 1.0, 0.05, 1.0)
            gui.add_button("take the selection").on_click(self._take)
        with gui.add_folder("Blend heads", expand_by_default=False):
            self._shares = [gui.add_slider("-", 0.0, 1.0, 0.05, 0.0, visible=False) for _ in range(MOST_BLENDED)]
        for share in self._shares:
            share.on_update(self._blend)

    def sync(self, studio: Studio) -> None:
        """Say what the state says."""
        chosen, locked = studio.settings.selection, studio.settings.locked
        title = f"### {words(chosen)}" if chosen else "### Click a region of the head"
        shut = [name for name in chosen if name in locked]
        note = "" if not shut else f"\n\nlocked: {words(tuple(shut))}"
        self._selection.content = title + note
        put(self._symmetric, studio.settings.symmetric)
        put(self._locked, bool(chosen) and len(shut) == len(chosen))
        self._locked.disabled = self._sample.disabled = self._reset.disabled = not chosen
        self._sync_sliders(studio, tuple(name for name in chosen if name not in locked))
        self._sync_heads(studio.document.names())
        self._values = measured(studio.model, studio.head)
        self._sync_measure()

    def _sync_measure(self) -> None:
        kind = MEASUREMENTS[self._kind.options.index(self._kind.value)]
        self._now.content = f"now **{self._values[kind.name]:.1f} {kind.unit}**: {kind.definition}"

    def _sync_sliders(self, studio: Studio, free: tuple[str, ...]) -> None:
        regions, mirror = resolve(free) if free else (), studio.settings.symmetric
        known = named_directions(studio.model, regions, mirror) if regions else ()
        for k, slider in enumerate(self._words):
            slider.visible = k < len(known)
            if k < len(known):
                slider.label = known[k]
                slider.hint = f"{_BACKWARDS[known[k]]} to the left, {known[k]} to the right"
                self._set(slider, word_score(studio.model, studio.head, regions, mirror, known[k]))
        scores = region_scores(studio.model, studio.head, regions, mirror) if regions else ()
        shares = direction_shares(studio.model, regions, mirror) if regions else ()
        count = min(len(scores), _ROWS - len(known))
        for k, slider in enumerate(self._sliders):
            slider.visible = k < count
            if k < count:
                slider.label = f"shape {k + 1} · {100 * shares[k]:.0f} %"
                self._set(slider, float(scores[k]))

    def _set(self, slider: viser.GuiSliderHandle[float], sigma: float) -> None:
        value = min(max(sigma, -MOST_SIGMA), MOST_SIGMA)
        if abs(slider.value - value) > _CLOSE:
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

    def _on_slide(self, index: int, slider: viser.GuiSliderHandle[float]) -> None:
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

    async def _draw(self, event: viser.GuiEvent[viser.GuiButtonHandle]) -> None:
        seed = secrets.randbelow(1 << 31)
        self._session.change(lambda studio: studio.do(SampleRegions(studio.scope, seed)))

    async def _put_back(self, event: viser.GuiEvent[viser.GuiButtonHandle]) -> None:
        self._session.change(lambda studio: studio.do(ResetRegions(studio.scope)))

    async def _choose_kind(self, event: viser.GuiEvent[viser.GuiDropdownHandle[str]]) -> None:
        kind = MEASUREMENTS[self._kind.options.index(self._kind.value)]
        if kind.name in self._values:
            put(self._target, round(self._values[kind.name], 1))
            self._sync_measure()

    async def _reach(self, event: viser.GuiEvent[viser.GuiButtonHandle]) -> None:
        name = MEASUREMENTS[self._kind.options.index(self._kind.value)].name
        target = self._target.value
        self._session.change(lambda studio: studio.do(SetMeasurement(studio.scope, name, target)))

    async def _take(self, event: viser.GuiEvent[viser.GuiButtonHandle]) -> None:
        name, amount = self._other.value, self._amount.value
        self._session.change(lambda studio: studio.do(TakeFrom(studio.scope, name, amount)))

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
