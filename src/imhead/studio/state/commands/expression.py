"""The command that sets the head's expression."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from imhead.checkpoint import Model
from imhead.isosurface.field import code_of_weights, expression_weights
from imhead.studio.state.document import Document
from imhead.template.surface import arkit_weights
from imhead.types import FloatArray, Head


@dataclass(frozen=True)
class SetExpression:
    """Set the head's expression."""

    weights: tuple[tuple[str, float], ...]
    """(ARKit name, weight from 0 to 1); names left out are 0."""

    @property
    def label(self) -> str:
        shown = [f"{name} {weight:.2f}" for name, weight in self.weights if weight > 0.0]
        if len(shown) > 3:
            return f"expression: {len(shown)} shapes"
        return f"expression: {', '.join(shown) or 'neutral'}"

    @property
    def control(self) -> str:
        return "expression"

    def apply(self, model: Model, document: Document) -> Document:
        code = code_of_weights(model, expression_weights(dict(self.weights)))
        return document.with_head(replace(document.head, z_exp=code))


def clipped_arkit_weights(model: Model, head: Head) -> FloatArray:
    """(52,) ARKit weights of a head's expression code, clipped to 0 to 1."""
    weights: FloatArray = np.clip(arkit_weights(model, head.z_exp), 0.0, 1.0)
    return weights
