"""The joint fit of several scans of one person: `imhead fit --same-person`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from imhead.cli.console import print_json, say, stage_bar
from imhead.errors import InputError, one_line

if TYPE_CHECKING:
    from imhead.api import MorphableModel
    from imhead.fitting.config import FitConfig
    from imhead.fitting.pose import Units

_LONGEST_NAME = 100  # characters


def check_person(name: str, beside: Mapping[str, bool]) -> None:
    """Refuse a name that cannot be that of one folder, and options that a joint fit does not know.

    Args:
        name: of `--same-person`.
        beside: option that does not go with it → whether it was given.

    Raises:
        InputError: an empty or long name, one that does not print, or one that leads elsewhere; or such an option.
    """
    plain = name.strip() == name and name.isprintable() and 0 < len(name) <= _LONGEST_NAME
    if not plain or name in (".", "..") or PurePath(name).name != name or "\\" in name:
        shown = one_line(name, 40)
        raise InputError(f"--same-person {shown!r} cannot name a folder; give a plain name, such as anna")
    for option, given in beside.items():
        if given:
            raise InputError(f"--same-person does not go with {option}; leave one of them out")


def fit_one_person(
    model: MorphableModel,
    scans: Sequence[Path],
    out: Path,
    name: str,
    units: Units,
    scale: float | None,
    config: FitConfig,
    as_json: bool,
) -> None:
    """Fit one head to all scans, write `out/name`, and say what became of each scan."""
    with stage_bar(name, f"{name}: ") as show:
        person = model.fit_person(scans, units, config, mm_per_unit=scale, progress=show)
        show("reports", 0.97)
        report = person.write(out / name)
    for warning in report["warnings"]:
        say.warn(warning)
    for scan in report["scans"]:
        say.print(_line(scan))
    if as_json:
        print_json({"name": name, "out": str(out / name)} | report)


def _line(scan: dict[str, Any]) -> str:
    """What became of one scan."""
    if "error" in scan:
        return f"{scan['file']}: left out, no face was found"
    spread = scan["scan_to_head_mm"]["median"]
    figures = "explains nothing" if spread is None else f"median {spread:.2f} mm"
    person = "same person" if scan["same_person"] else "somebody else, left out"
    return f"{scan['file']}: {person}, {figures} over {100 * scan['explained_fraction']:.0f} % of the scan"
