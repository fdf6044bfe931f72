"""The head's pose in a scan: a global search, or landmarks."""

from imhead.fitting.pose.finder import PoseResult, find_pose
from imhead.fitting.pose.template import PoseTemplate
from imhead.fitting.pose.units import Units

__all__ = ["PoseResult", "PoseTemplate", "Units", "find_pose"]
