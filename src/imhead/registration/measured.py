"""A head's neutral face, its landmarks and its measurements: of a registered head those of its scan.

Shape legend: V vertices of the template, L landmarks.
"""

from __future__ import annotations

from imhead.checkpoint import Model
from imhead.isosurface.field import expression_weights
from imhead.measure.carrier import landmark_points
from imhead.measure.landmarks import landmark_places
from imhead.measure.on_template import values_on
from imhead.measure.table import values
from imhead.measure.volumes import volumes
from imhead.registration.frames import registered_vertices
from imhead.template.surface import template_of
from imhead.types import FloatArray, Head


def neutral_vertices(model: Model, head: Head) -> FloatArray:
    """(V, 3) the template of a head's neutral face with its registration, mm.

    Raises:
        InputError: the model has no template, or the registration belongs to another one.
    """
    return registered_vertices(template_of(model), model, head, expression_weights({}))


def head_landmarks(model: Model, head: Head, neutral: FloatArray | None = None) -> FloatArray:
    """(L, 3) the landmarks of a head's neutral face in the order of `landmark_names`, mm.

    Args:
        model: of the head.
        head: registered or not.
        neutral: (V, 3) its `neutral_vertices`, if they are known.

    Raises:
        InputError: the model has no template, or the registration belongs to another one.
    """
    if head.registration is not None:
        return landmark_places().of(neutral_vertices(model, head) if neutral is None else neutral)
    return landmark_points(model).on_head(model, head)


def head_measurements(model: Model, head: Head, neutral: FloatArray | None = None) -> dict[str, float]:
    """Every measurement of a head's neutral face by name, in the unit that `measure.table` names; arguments and errors
    as for `head_landmarks`."""
    if head.registration is not None:
        return values_on(neutral_vertices(model, head) if neutral is None else neutral)
    return values(landmark_points(model).on_head(model, head)) | volumes(model, head)
