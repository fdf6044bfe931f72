"""An implicit 3D morphable model of the human head whose regions can be edited one by one.

>>> import imhead
>>> head = imhead.fit("scan.ply")
>>> other = head.sample("nose", seed=7)
>>> other.mesh(expression={"jawOpen": 0.5}).vertices.shape
"""

from __future__ import annotations

from imhead.version import __version__

TYPE_CHECKING = False  # for a type checker this name is True; importing it from typing would take milliseconds
if TYPE_CHECKING:
    from typing import Any

    from imhead.api import EditableHead, FittedHead, MorphableModel, fit, load
    from imhead.api.export import ExportConfig
    from imhead.avatar.look import Look
    from imhead.errors import InputError
    from imhead.fitting.config import FitConfig
    from imhead.types import Head, Mesh, Scan

__all__ = [
    "EditableHead",
    "ExportConfig",
    "FitConfig",
    "FittedHead",
    "Head",
    "InputError",
    "Look",
    "Mesh",
    "MorphableModel",
    "Scan",
    "__version__",
    "fit",
    "load",
]

_HOMES = {
    **dict.fromkeys(("EditableHead", "FittedHead", "MorphableModel", "fit", "load"), "imhead.api"),
    **dict.fromkeys(("Head", "Mesh", "Scan"), "imhead.types"),
    "ExportConfig": "imhead.api.export",
    "FitConfig": "imhead.fitting.config",
    "InputError": "imhead.errors",
    "Look": "imhead.avatar.look",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: torch takes seconds, and the command line must be able to stop before."""
    if name not in _HOMES:
        raise AttributeError(f"module 'imhead' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
