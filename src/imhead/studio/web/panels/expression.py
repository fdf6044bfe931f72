"""The face that the head makes: ARKit sliders in groups, presets, and a sweep that plays them."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import viser

from imhead.conventions import ARKIT_NAMES
from imhead.isosurface.field import code_of_weights, expression_weights
from imhead.studio.session.tab_session import TabSession
from imhead.studio.state.commands import SetExpression, shown_expression
from imhead.studio.state.studio import Studio
from imhead.studio.web.panels.widgets import put
from imhead.types import Head

PRESETS: dict[str, dict[str, float]] = {
    "neutral": {},
    "smile": {
        "mouthSmileLeft": 0.75, "mouthSmileRight": 0.75, "cheekSquintLeft": 0.4, "cheekSquintRight": 0.4,
        "eyeSquintLeft": 0.25, "eyeSquintRight": 0.25,
    },
    "surprise": {
        "browInnerUp": 0.8, "browOuterUpLeft": 0.7, "browOuterUpRight": 0.7, "eyeWideLeft": 0.7, "eyeWideRight": 0.7,
        "jawOpen": 0.35,
    },
    "anger": {
        "browDownLeft": 0.9, "browDownRight": 0.9, "noseSneerLeft": 0.5, "noseSneerRight": 0.5,
        "mouthPressLeft": 0.4, "mouthPressRight": 0.4,
    },
    "sorrow": {"browInnerUp": 0.8, "mouthFrownLeft": 0.7, "mouthFrownRight": 0.7, "mouthShrugLower": 0.3},
    "eyes shut": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    "kiss": {"mouthPucker": 0.9, "mouthFunnel": 0.2},
    "mouth open": {"jawOpen": 0.7},
}  # fmt: skip
_ROWS = (("neutral", "smile", "surprise"), ("anger", "sorrow", "kiss"), ("eyes shut", "mouth open"))
_GROUPS = {"Mouth": ("mouth",), "Jaw and tongue": ("jaw", "tongue"), "Eyes": ("eye",), "Brows": ("brow",),
           "Cheeks and nose": ("cheek", "nose")}  # fmt: skip
_FRAME_S = 0.1
_SWEEP_FRAMES = 14


class ExpressionPanel:
    """The 52 ARKit weights of the head that is shown."""

    def __init__(self, gui: viser.GuiApi, session: TabSession) -> None:
        self._session = session
        self._playing = threading.Event()
        self._gone = threading.Event()
        for row in _ROWS:
            self._add_presets(gui, row)
        self._play = gui.add_button("play all expressions", icon=viser.Icon.PLAYER_PLAY)
        self._play.on_click(self._toggle_play)
        self._sliders: dict[str, viser.GuiSliderHandle[float]] = {}
        for title, starts in _GROUPS.items():
            with gui.add_folder(title, expand_by_default=title == "Mouth"):
                for name in ARKIT_NAMES:
                    if name.startswith(starts):
                        self._sliders[name] = gui.add_slider(name, 0.0, 1.0, 0.01, 0.0)
        for slider in self._sliders.values():
            slider.on_update(self._slide)

    def sync(self, studio: Studio) -> None:
        """Say what the state says."""
        weights = shown_expression(studio.model, studio.head)
        for name, slider in self._sliders.items():
            value = round(float(weights[ARKIT_NAMES.index(name)]), 2)
            if abs(slider.value - value) > 0.005:
                put(slider, value)

    def close(self) -> None:
        """Stop what plays."""
        self._gone.set()
        self._playing.clear()

    def _add_presets(self, gui: viser.GuiApi, row: tuple[str, ...]) -> None:
        buttons = gui.add_button_group("", row)

        @buttons.on_click
        async def _(event: viser.GuiEvent[viser.GuiButtonGroupHandle]) -> None:
            self._playing.clear()
            self._session.do(SetExpression(tuple(PRESETS[buttons.value].items())))

    async def _slide(self, event: viser.GuiEvent[viser.GuiSliderHandle[float]]) -> None:
        if event.client is not None:
            self._playing.clear()
            weights = tuple((name, slider.value) for name, slider in self._sliders.items() if slider.value > 0.0)
            self._session.draft(lambda _: SetExpression(weights))

    async def _toggle_play(self, event: viser.GuiEvent[viser.GuiButtonHandle]) -> None:
        if self._playing.is_set():
            self._playing.clear()
        else:
            self._playing.set()
            self._play.label = "stop"
            threading.Thread(target=self._sweep, daemon=True).start()

    def _sweep(self) -> None:
        """Each expression in and out again, as a preview: nothing of it becomes a step."""
        head = self._session.studio.head
        try:
            for name in ARKIT_NAMES:
                for phase in range(_SWEEP_FRAMES):
                    if not self._playing.is_set():
                        return
                    weight = 0.5 - 0.5 * float(np.cos(2.0 * np.pi * phase / _SWEEP_FRAMES))
                    self._session.preview(self._with(head, name, weight))
                    time.sleep(_FRAME_S)
        finally:
            self._playing.clear()
            if not self._gone.is_set():
                self._play.label = "play all expressions"

    def _with(self, head: Head, name: str, weight: float) -> Head:
        return replace(head, z_exp=code_of_weights(self._session.model, expression_weights({name: weight})))
