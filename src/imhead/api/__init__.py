"""The verbs of the command line, for Python."""

from imhead.api.heads import EditableHead, FittedHead
from imhead.api.models import MorphableModel, fit, load

__all__ = ["EditableHead", "FittedHead", "MorphableModel", "fit", "load"]
