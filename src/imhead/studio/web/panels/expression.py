"""The panel of the expression: ARKit sliders in groups, presets, and an animation of all of them."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import viser

from imhead.conventions import ARKIT_NAMES
from imhead.isosurface.field import code_of_weights, expression_weights
from imhead.studio.session.tab_session import TabSession
from imhead.studio.state.commands.expression import SetExpression, clipped_arkit_weights
from imhead.studio.state.studio import Studio
from imhead.studio.web.panels.widgets import put
from imhead.types import Head

EXPRESSION_PRESETS: dict[str, dict[str, float]] = {
    "neutral": {},
    "smile": {
        "mouthSmileLeft": 0.75, "mouthSmileRight": 0.75, "cheekSquintLeft": 0.4, "cheekSquintRight": 0.4,
        "eyeSquintLeft": 0.25, "eyeSquintRight": 0.25,
    },
    "surprise": {
        "browInnerUp": 0.8, "browOuterUpLeft": 0.7, "browOuterUpRight": 0.7, "eyeWideLeft": 0.7, "eyeWideRight": 0.7,
        "jawOpen": 0.35,
    },
    "angry": {
        "browDownLeft": 0.9, "browDownRight": 0.9, "noseSneerLeft": 0.5, "noseSneerRight": 0.5,
        "mouthPressLeft": 0.4, "mouthPressRight": 0.4,
    },
    "sad": {"browInnerUp": 0.8, "mouthFrownLeft": 0.7, "mouthFrownRight": 0.7, "mouthShrugLower": 0.3},
    "eyes closed": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    "kiss": {"mouthPucker": 0.9, "mouthFunnel": 0.2},
    "mouth open": {"jawOpen": 0.7},
}  # fmt: skip
_PRESET_ROWS = (("neutral", "smile", "surprise"), ("angry", "sad", "kiss"), ("eyes closed", "mouth open"))
_SLIDER_GROUPS = {"Mouth": ("mouth",), "Jaw and tongue": ("jaw", "tongue"), "Eyes": ("eye",), "Brows": ("brow",),
           "Cheeks and nose": ("cheek", "nose")}  # fmt: skip
_FRAME_S = 0.1
_FRAMES = 14


class ExpressionPanel:
    """Sliders for the 52 ARKit weights of the shown head, presets, and a play button."""

    def __init__(self, gui: viser.GuiApi, session: TabSession) -> None:
        self._session = session
        self._playing = threading.Event()
        self._closed = threading.Event()
        for row in _PRESET_ROWS:
            self._add_presets(gui, row)
        self._play = gui.add_button("play all expressions", icon=viser.Icon.PLAYER_PLAY)
        self._play.on_click(self._toggle_play)
        self._sliders: dict[str, viser.GuiSliderHandle[float]] = {}
        for title, starts in _SLIDER_GROUPS.items():
            with gui.add_folder(title, expand_by_default=title == "Mouth"):
                for name in ARKIT_NAMES:
                    if name.startswith(starts):
                        self._sliders[name] = gui.add_slider(name, 0.0, 1.0, 0.01, 0.0)
        for slider in self._sliders.values():
            slider.on_update(self._slide)

    def sync(self, studio: Studio) -> None:
        """Update the widgets from the state."""
        weights = clipped_arkit_weights(studio.model, studio.head)
        for name, slider in self._sliders.items():
            value = round(float(weights[ARKIT_NAMES.index(name)]), 2)
            if abs(slider.value - value) > 0.005:
                put(slider, value)

    def close(self) -> None:
        """Stop the animation; the page is gone."""
        self._closed.set()
        self._playing.clear()

    def _add_presets(self, gui: viser.GuiApi, row: tuple[str, ...]) -> None:
        buttons = gui.add_button_group("", row)

        @buttons.on_click
        async def _(event: viser.GuiEvent[viser.GuiButtonGroupHandle]) -> None:
            self._playing.clear()
            self._session.do(SetExpression(tuple(EXPRESSION_PRESETS[buttons.value].items())))

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
            threading.Thread(target=self._animate, daemon=True).start()

    def _animate(self) -> None:
        """Play each expression as a preview, which adds no step."""
        head = self._session.studio.head
        try:
            for name in ARKIT_NAMES:
                for phase in range(_FRAMES):
                    if not self._playing.is_set():
                        return
                    weight = 0.5 - 0.5 * float(np.cos(2.0 * np.pi * phase / _FRAMES))
                    self._session.preview(self._with_weight(head, name, weight))
                    time.sleep(_FRAME_S)
        finally:
            self._playing.clear()
            if not self._closed.is_set():
                self._play.label = "play all expressions"

    def _with_weight(self, head: Head, name: str, weight: float) -> Head:
        return replace(head, z_exp=code_of_weights(self._session.model, expression_weights({name: weight})))
