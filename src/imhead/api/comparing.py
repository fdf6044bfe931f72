"""Visits of one person compared, and the asymmetry of one head, for Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from imhead.api.checks import checked_scale, checked_units
from imhead.api.drawn import RegionNames
from imhead.api.fitted import FittedHead
from imhead.api.heads import EditableHead
from imhead.api.models import MorphableModel
from imhead.change.asymmetry import asymmetry_of
from imhead.change.comparison import Comparison, compare_visits
from imhead.change.config import ChangeConfig
from imhead.change.picked import compared_landmarks
from imhead.change.scanners import scanner_noise_mm
from imhead.change.visits import head_visit
from imhead.errors import InputError, one_line
from imhead.fitting.pose import Units
from imhead.io.landmark_file import read_named_places
from imhead.io.limited import read_scan_limited
from imhead.reports.asymmetry_report import asymmetry_report, write_asymmetry
from imhead.reports.scan_comparison import scan_comparison_report, write_scan_comparison
from imhead.topology.store import UserTopology
from imhead.types import Head, Scan

HEAD_FILE = ".safetensors"
_LABEL = 80  # characters of what a visit is called


@dataclass(frozen=True, eq=False, repr=False)
class ComparedVisits:
    """Visits of one person, compared with the first."""

    comparison: Comparison
    """Change, noise, volumes and measurements."""
    source: MorphableModel
    """The model of the heads."""
    files: tuple[Path | None, ...]
    """Of the visits; None for what was given as a value."""
    scanner: str | None
    """The scanner that was named."""

    def __repr__(self) -> str:
        first, later = self.comparison.first, self.comparison.later
        beyond = [0.0 if part.whole is None else part.whole.beyond_share for part in later]
        told = ", ".join(f"{part.visit.name}: {100 * k:.0f} % beyond the noise" for part, k in zip(later, beyond))
        return f"ComparedVisits({self.source.model.name}, from {first.name} to {told})"

    def report(self) -> dict[str, Any]:
        """What `report.json` holds."""
        return scan_comparison_report(self.comparison, self.source.model, self.files, self.scanner)

    def write(
        self, folder: str | Path, patient: str | None = None, topology: UserTopology | None = None
    ) -> dict[str, Any]:
        """Write what `imhead compare` writes; returns the report.

        Args:
            folder: made where missing.
            patient: a label for the printed page alone.
            topology: of the user, in which the surfaces and the change are written; None for the template's.

        Raises:
            InputError: a topology of another template, or a folder that cannot be written.
        """
        return write_scan_comparison(
            self.comparison, self.source.model, Path(folder), files=self.files, scanner=self.scanner, patient=patient,
            topology=topology,
        )  # fmt: skip


def compare_scans(
    visits: Sequence[Scan | EditableHead | str | Path],
    model: MorphableModel,
    *,
    stable: RegionNames = (),
    scanner: str | None = None,
    same_expression: bool = False,
    units: Units = "auto",
    mm_per_unit: float | None = None,
    config: ChangeConfig = ChangeConfig(),  # noqa: B008 frozen
    progress: Callable[[str, float], None] = lambda stage, part: None,
) -> ComparedVisits:
    """Compare scans or heads of one person with the first of them.

    Args:
        visits: scans, heads of the model, or paths of either, in order of time; two or more.
        model: to fit.
        stable: regions or groups that did not change; those of the settings if none are named.
        scanner: name in `SCANNERS`, or the mm between two scans of a person; None measures it.
        same_expression: whether the model takes later visits to the expression of the first.
        units: what the numbers of all scans mean, if you know it.
        mm_per_unit: millimetres that one unit of the scans stands for, if you know it; goes before `units`.
        config: settings.
        progress: called with the stage and the part done, 0 to 1.

    Raises:
        InputError: fewer than two visits, a file that cannot be read, a scan without a face, a head of another model,
            an unknown region or scanner, or hardly a stable place shown in both.
    """
    units, mm_per_unit = checked_units(units), checked_scale(mm_per_unit)
    noise = None if scanner is None else scanner_noise_mm(scanner)
    if len(stable):
        # named by a person who knows: nothing else may take part
        config = replace(config, stable=(stable,) if isinstance(stable, str) else tuple(stable), refine=False)
    files = tuple(Path(visit) if isinstance(visit, str | Path) else None for visit in visits)
    sources = [_opened(visit, model) for visit in visits]
    comparison = compare_visits(
        model.model, sources, visit_names(visits), config, scanner_mm=noise, same_expression=same_expression,
        units=units, mm_per_unit=mm_per_unit, progress=progress,
    )  # fmt: skip
    return ComparedVisits(comparison, model, files, scanner)


def _opened(visit: Scan | EditableHead | str | Path, model: MorphableModel) -> Scan | Head:
    if isinstance(visit, Scan):
        return visit
    if isinstance(visit, EditableHead):
        if visit.model.hash != model.model.hash:
            raise InputError("a head belongs to another model; open it with the model of the comparison")
        return visit.codes
    path = Path(visit)
    return model.open(path).codes if path.suffix.lower() == HEAD_FILE else read_scan_limited(path)


def visit_names(visits: Sequence[Scan | EditableHead | str | Path]) -> list[str]:
    """What to call each visit: the stem of its file, with a number where two are called the same."""
    plain = []
    for visit in visits:
        if isinstance(visit, Scan):
            plain.append(visit.name)
        elif isinstance(visit, EditableHead):
            plain.append("head")
        else:
            plain.append(PurePath(visit).stem)
    names = [one_line(name, _LABEL) or "visit" for name in plain]
    if len(set(names)) == len(names):
        return names
    return [f"{number}. {name}" for number, name in enumerate(names, 1)]


def registered_scan(model: MorphableModel, scan: Scan | str | Path, units: str = "auto") -> FittedHead:
    """The head fitted to a scan and registered on it, as `imhead measure SCAN` measures it.

    Raises:
        InputError: as `MorphableModel.fit` and `FittedHead.register`.
    """
    return model.fit(scan, checked_units(units)).register()


def landmark_table(fitted: FittedHead, picked: str | Path) -> list[dict[str, Any]]:
    """Landmarks picked on a scan, in its own frame, beside those of the head registered on it: name, distance in mm,
    and both places in the head frame.

    Raises:
        InputError: the file cannot be read, none of its names is a landmark, or the head is not registered.
    """
    if fitted.registration is None:
        raise InputError("the head is not registered on its scan; call register() first")
    places = read_named_places(Path(picked))
    vertices, to_head = fitted.registration.mesh.vertices, fitted.result.scan_to_head
    return [asdict(row) for row in compared_landmarks(places, vertices, to_head, one_line(picked))]


def asymmetry(
    source: Scan | EditableHead | str | Path,
    model: MorphableModel,
    out: str | Path | None = None,
    *,
    units: str = "auto",
    config: ChangeConfig = ChangeConfig(),  # noqa: B008 frozen
) -> dict[str, Any]:
    """The mirror analysis of a head or a scan: its plane, a signed map, each region's figures, and an index.

    Args:
        source: a head of the model, a scan, or the path of either.
        model: to fit.
        out: folder for `report.json`, `heatmap.png` and `asymmetry.ply`; None writes nothing.
        units: of a scan, if you know it.
        config: settings.

    Returns:
        What `report.json` holds.

    Raises:
        InputError: the file cannot be read, no face was found, or hardly a place is shown on both sides.
    """
    warnings: Sequence[str] = ()
    if isinstance(source, EditableHead):
        head, name = source, "head"
    elif isinstance(source, Scan) or Path(source).suffix.lower() != HEAD_FILE:
        head = registered_scan(model, source, units)
        name, warnings = head.scan.name, head.report()["warnings"]
    else:
        head, name = model.open(source), PurePath(source).stem
    visit = head_visit(model.model, head.codes, one_line(name, _LABEL))
    if isinstance(head, FittedHead) and head.registration is not None:
        visit = replace(visit, measured=head.registration.measured, vertices=head.registration.mesh.vertices)
    found = asymmetry_of(model.model, visit, config)
    if out is None:
        return asymmetry_report(found, visit, warnings)
    return write_asymmetry(found, visit, model.model, Path(out), warnings)
