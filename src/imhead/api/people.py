"""A person from several scans: one head, and the place of each scan on it.

The examples run as they stand, after `person = model.fit_person([demo_scan, second_scan])`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imhead.api.heads import EditableHead
from imhead.fitting.config import FitConfig
from imhead.fitting.person import PersonFit
from imhead.reports.person_report import person_report, write_person
from imhead.types import Scan


@dataclass(frozen=True, eq=False, repr=False)
class FittedPerson(EditableHead):
    """The neutral head of a person, fitted to several scans at once, and where each scan lies on it."""

    scans: tuple[Scan, ...]
    """The scans that were given, each in its own frame and unit."""
    files: tuple[str, ...]
    """What each of them is called in the report."""
    result: PersonFit
    """Pose, expression and figures of each scan, and whether it shows the person."""
    config: FitConfig
    """Settings of the fit."""

    def __repr__(self) -> str:
        """
        >>> person
        FittedPerson(default, fitted to demo_scan and second; 2 of 2 scans show the person)
        """
        same = sum(scan.same_person for scan in self.result.scans)
        told = f"{same} of {len(self.scans)} scans show the person"
        return f"FittedPerson({self.model.name}, {self.codes.provenance[0]}; {told})"

    def _told(self) -> list[tuple[str, object]]:
        rows = [(name, "shows the person" if s.same_person else "shows somebody else")
                for name, s in zip(self.files, self.result.scans)]  # fmt: skip
        return [*super()._told(), *rows]

    def report(self) -> dict[str, Any]:
        """The figures of the fit, with distances by the field; `write` measures them on meshes.

        >>> [scan["same_person"] for scan in person.report()["scans"]]
        [True, True]
        """
        return person_report(self.result, self.files)

    def write(self, folder: str | Path) -> dict[str, Any]:
        """Write what `imhead fit --same-person` writes: neutral head, its mesh, report, and a folder for each scan.

        >>> report = person.write(out / "person")
        >>> sorted(path.name for path in (out / "person").iterdir())
        ['demo_scan', 'head.ply', 'head.safetensors', 'report.json', 'second']
        """
        return write_person(self.result, self.scans, self.files, self.model, self.config, Path(folder))
