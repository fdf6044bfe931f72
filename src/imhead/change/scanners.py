"""How well scanners repeat, as published: the noise where it is not measured on the stable regions."""

from __future__ import annotations

import difflib
import math

from imhead.errors import InputError

SCANNERS: dict[str, float] = {
    "3dmdface": 0.40,
    "vectra_h1": 0.44,
    "two_stereo_systems": 0.85,
    "handheld": 0.50,
    "phone": 0.93,
}
"""Name → mm between two scans of a person. Two scans by 3dMDface or Vectra H1 after a registration, and one by each; of
handheld scanners (0.15 to 0.85 mm) and phones (0.46 to 1.4 mm) the middle of what was published."""


def scanner_noise_mm(name: str) -> float:
    """The repeatability of a scanner by name, or a number in mm.

    Raises:
        InputError: no such scanner, or no number from 0.01 to 10.
    """
    if name in SCANNERS:
        return SCANNERS[name]
    try:
        given = float(name.removesuffix("mm"))
    except ValueError:
        near = difflib.get_close_matches(name.lower(), SCANNERS, n=3, cutoff=0.4) or list(SCANNERS)
        raise InputError(
            f"--scanner {name!r} is not known; give {', '.join(near)}, or the mm between two scans of a person"
        ) from None
    if not (math.isfinite(given) and 0.01 <= given <= 10.0):
        raise InputError(f"--scanner {name!r} is out of range; give 0.01 to 10 mm between two scans of a person")
    return given
