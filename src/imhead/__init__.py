"""An implicit 3D morphable model of the human head whose regions can be edited one by one.

>>> import imhead
>>> head = imhead.fit("scan.ply")
>>> other = head.sample("nose", seed=7)
>>> other.mesh(expression={"jawOpen": 0.5}).vertices.shape
"""

from __future__ import annotations

from imhead.api import EditableHead, FittedHead, MorphableModel, fit, load
from imhead.errors import InputError
from imhead.fitting.config import FitConfig
from imhead.types import Head, Mesh, Scan

__version__ = "0.1.0"
__all__ = [
    "EditableHead",
    "FitConfig",
    "FittedHead",
    "Head",
    "InputError",
    "Mesh",
    "MorphableModel",
    "Scan",
    "__version__",
    "fit",
    "load",
]
