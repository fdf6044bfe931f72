"""A head in figures: landmarks, measurements, and how sure each is.

The examples run as they stand, after `import imhead`, `model = imhead.load()` and `head = model.sample(seed=7)[0]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from imhead.api.checks import checked_weights
from imhead.checkpoint import Model
from imhead.fitting.certainty import certainty_at
from imhead.isosurface.field import expression_weights
from imhead.measure.landmarks import landmark_names
from imhead.measure.table import errors
from imhead.registration.measured import head_landmarks, head_measurements
from imhead.template.surface import arkit_weights
from imhead.types import FloatArray, Head


@dataclass(frozen=True, eq=False, repr=False)
class MeasuredHead:
    """A head together with the model that draws it, in figures."""

    codes: Head
    """The codes, as stored in a head file."""
    model: Model
    """The model that they belong to."""

    def landmarks(self) -> dict[str, FloatArray]:
        """Anthropometric landmarks of the neutral face: name → place (3,), head frame, mm; of a registered head on its
        scan.

        Raises:
            InputError: a model without a template.

        >>> head.landmarks()["pronasale"].shape
        (3,)
        """
        return dict(zip(landmark_names(), head_landmarks(self.model, self.codes)))

    def measure(self) -> dict[str, float]:
        """Every measurement of the neutral face by name, in the unit that `imhead.measure.table` names; of a registered
        head that of its scan.

        Where `codes.scale_assumed` is true, the head was fitted to a scan of unknown unit: its lengths may be off by
        10 %, a child's by more, its volumes by three times as much; its angles hold.

        Raises:
            InputError: a model without a template.

        >>> 25.0 < head.measure()["alar_width"] < 50.0
        True
        """
        return head_measurements(self.model, self.codes)

    def measure_errors(self) -> dict[str, float]:
        """± of the distances and angles of a fitted head by name, in their units: half of the interval that holds the
        person's with 68 % probability. Empty for a head that was not fitted.

        Raises:
            InputError: a model without a template.

        >>> head.measure_errors(), fitted.measure_errors()["alar_width"] > 0.0
        ({}, True)
        """
        if self.codes.certainty is None:
            return {}
        return errors(head_landmarks(self.model, self.codes), self.codes.certainty)

    def sigma_at(self, points_mm: FloatArray, expression: Mapping[str, float] | None = None) -> FloatArray | None:
        """How sure a fitted head's surface is (N,) at points (N, 3) on it, mm: the person's lies within this distance
        with 68 % probability. None for a head that was not fitted.

        Args:
            points_mm: (N, 3).
            expression: of the surface, ARKit name → weight; None for the head's own expression.

        Raises:
            InputError: points of another shape, an unknown expression, or a model without a template.

        >>> float(fitted.sigma_at(fitted.mesh(resolution=64).vertices).min()) > 0.0
        True
        """
        certainty = self.codes.certainty
        if certainty is None:
            return None
        given = checked_weights(expression)
        weights = arkit_weights(self.model, self.codes.z_exp) if given is None else expression_weights(given)
        points = np.asarray(points_mm, dtype=np.float64)
        return certainty_at(certainty, self.model, self.codes, points, weights).sigma_mm
