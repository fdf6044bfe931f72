"""The verbs of the command line, for Python."""

from imhead.api.fitted import FittedHead
from imhead.api.heads import EditableHead
from imhead.api.models import MorphableModel, fit, load
from imhead.api.people import FittedPerson
from imhead.api.tracks import TrackedHead

__all__ = ["EditableHead", "FittedHead", "FittedPerson", "MorphableModel", "TrackedHead", "fit", "load"]
