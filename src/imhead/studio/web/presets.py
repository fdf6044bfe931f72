"""Expressions with a name, and a player that shows every ARKit shape in turn."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np

from imhead.conventions import ARKIT_NAMES
from imhead.isosurface.field import code_of_weights, expression_weights
from imhead.studio.session.tab_session import TabSession

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
_FRAME_S = 0.1
_FRAMES = 14


class Player:
    """Plays every expression of the shown head as a preview, which adds no step.

    Args:
        session: whose head it plays.
    """

    def __init__(self, session: TabSession) -> None:
        self._session = session
        self._playing: threading.Event | None = None

    def play(self) -> None:
        """Start over."""
        self.stop()
        self._playing = threading.Event()
        threading.Thread(target=self._run, args=(self._playing,), daemon=True).start()

    def stop(self) -> None:
        """Stop, if it plays."""
        if self._playing is not None:
            self._playing.set()
            self._playing = None

    def _run(self, stopped: threading.Event) -> None:
        head, model = self._session.studio.head, self._session.model
        for name in ARKIT_NAMES:
            for phase in range(_FRAMES):
                if stopped.is_set():
                    return
                weight = 0.5 - 0.5 * float(np.cos(2.0 * np.pi * phase / _FRAMES))
                self._session.preview(replace(head, z_exp=code_of_weights(model, expression_weights({name: weight}))))
                time.sleep(_FRAME_S)
        self._session.change(lambda _: None)
