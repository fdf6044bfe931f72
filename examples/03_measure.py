"""Measure a head: distances, angles and volumes, and the landmarks between which they run.

python examples/03_measure.py HEAD.safetensors
"""

from __future__ import annotations

import sys
from pathlib import Path

import imhead
from imhead.measure.table import measurement


def main(path: Path) -> None:
    """Print every measurement with its unit, and three landmarks."""
    head = imhead.load().open(path)
    for name, value in head.measure().items():
        print(f"{name:<26}{value:8.1f} {measurement(name).unit}")
    places = head.landmarks()
    for name in ("nasion", "pronasale", "pogonion"):
        print(name, places[name].round(1), "mm")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
