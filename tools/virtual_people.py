"""Folders of virtual raw scans of people, some of them spoilt in a known way, and how a curation of them did.

    python tools/virtual_people.py make PEOPLE --people 12 --scans 3 --spoilt 0.12 [--ict ICT [--anny]] [--dressed 0.5]
    imhead curate PEOPLE --out CURATED --people PEOPLE/people.csv
    python tools/virtual_people.py rate PEOPLE CURATED

Heads are held-out heads of ICT-FaceKit, plain and composed, with --anny each third person is one of Anny's; without
--ict they are drawn from the default model, which then knows them. The dressed ones wear a cap of hair and a collar.
`truth.npz` keeps where the template's vertices lie in each scan, so that registrations of good scans are rated too.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from imhead.curation.store import PLACED, read_record
from imhead.datasets.recipe import HELD_OUT_SEED
from imhead.evaluation.virtual_scanner import FRONTAL_PHONE, ScannerConfig, virtual_scan
from imhead.io.mesh_file import write_mesh
from imhead.sources.expressions import draw_expressions
from imhead.surfaces.mending import without_unused_points
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.transforms import transform_points
from imhead.template.topology import SKIN, load_topology
from imhead.types import FloatArray, IntArray, Mesh, Scan

PHONE = replace(FRONTAL_PHONE, arc_deg=110.0, target_points=9000, outlier_fraction=0.002)
REASONS = {
    "no_head": ("no_head",), "two_heads": ("two_heads",), "mirrored": ("mirrored",), "mirrored_turned": ("mirrored",),
    "wrong_unit": ("unit",), "half": ("partial",), "smeared": ("surface",), "wrong_person": ("stranger",),
    "duplicate": ("duplicate",),
}  # fmt: skip
"""Kind of spoilt scan → kinds of problem that name it."""
KINDS = tuple(REASONS)
FACE_MM = 95.0  # from the nose tip
HeadOf = Callable[[int, int], tuple[Mesh, FloatArray]]
"""Number of a person and of an expression, 0 neutral → the head, and the template's vertices on it, head frame, mm."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    made = commands.add_parser("make")
    made.add_argument("out", type=Path)
    made.add_argument("--people", type=int, default=12)
    made.add_argument("--scans", type=int, default=3)
    made.add_argument("--spoilt", type=float, default=0.12)
    made.add_argument("--kinds", nargs="*", default=list(KINDS), choices=KINDS)
    made.add_argument("--ict", type=Path)
    made.add_argument("--anny", action="store_true")
    made.add_argument("--dressed", type=float, default=0.0)
    made.add_argument("--holes", type=int, default=PHONE.holes)
    made.add_argument("--hole-radius", type=float, default=PHONE.hole_radius_mm)
    made.add_argument("--arc", type=float, default=PHONE.arc_deg, help="degrees from the first camera to the last")
    made.add_argument("--seed", type=int, default=0)
    made.set_defaults(run=make)
    rated = commands.add_parser("rate")
    rated.add_argument("scans", type=Path)
    rated.add_argument("curated", type=Path)
    rated.set_defaults(run=lambda asked: print(json.dumps(rates(asked.scans, asked.curated), indent=1)))
    asked = parser.parse_args()
    asked.run(asked)


def make(asked: argparse.Namespace) -> None:
    """Write `person/expression.ply`, `people.csv` and `truth.csv`; each kind is spoilt about as often."""
    out, people, scans, spoilt, kinds, seed = (
        asked.out, asked.people, asked.scans, asked.spoilt, asked.kinds, asked.seed
    )  # fmt: skip
    phone = replace(PHONE, holes=asked.holes, hole_radius_mm=asked.hole_radius, arc_deg=asked.arc)
    head_of = _drawn_heads(seed) if asked.ict is None else _held_out_heads(asked.ict, asked.anny, seed)
    rng = np.random.default_rng([0x5B01, seed])
    count = people * scans
    bad = rng.permutation(count)[: round(spoilt * count)]
    spoil = {int(place): kinds[k % len(kinds)] for k, place in enumerate(bad)}
    rows, truth, known = [], [], {}
    previous: Scan | None = None
    for place in range(count):
        person, expression = divmod(place, scans)
        kind = spoil.get(place, "good")
        name = f"person_{person:02d}/{'neutral' if expression == 0 else f'expression_{expression}'}.ply"
        scan, vertices = _scan(head_of, person, expression, kind, previous, asked.dressed, phone, rng)
        previous = scan if kind == "good" else previous
        assert scan.faces is not None
        write_mesh(Mesh(scan.points, scan.faces), out / name)
        rows.append((name, f"person_{person:02d}", "drawn head, no person", "CC0"))
        truth.append((name, kind))
        if kind == "good":
            known[name] = vertices.astype(np.float32)
    _write(out / "people.csv", ("file", "person", "consent", "licence"), rows)
    _write(out / "truth.csv", ("file", "kind"), truth)
    np.savez(out / "truth.npz", **known)  # type: ignore[arg-type]  # no scan is called allow_pickle


def _scan(
    head_of: HeadOf, person: int, expression: int, kind: str, previous: Scan | None, dressed: float,
    phone: ScannerConfig, rng: np.random.Generator,
) -> tuple[Scan, FloatArray]:  # fmt: skip
    """A scan, and the template's vertices in its frame and unit."""
    # another person of the same source: 501 is divisible by three
    head, vertices = head_of(person + 501 if kind == "wrong_person" else person, expression)
    if dressed > 0.0 and rng.random() < dressed:
        head = _dressed(head, rng)
    if kind == "no_head":
        head = _terrain(rng)
    if kind == "two_heads":
        beside, _ = head_of(person + 702, 0)
        moved = beside.vertices + [260.0, 0.0, 0.0]
        head = Mesh(
            np.concatenate([head.vertices, moved]), np.concatenate([head.faces, beside.faces + len(head.vertices)])
        )
    if kind == "half":
        points, faces = without_unused_points(
            head.vertices, head.faces[(head.vertices[head.faces][:, :, 0] > -2.0).all(axis=1)]
        )
        head = Mesh(points, faces)
    if kind == "smeared":
        head = Mesh(_smeared(head.vertices, rng), head.faces)
    if kind == "duplicate" and previous is not None:
        from scipy.spatial.transform import Rotation

        turn = Rotation.random(random_state=int(rng.integers(1 << 31))).as_matrix()
        return replace(previous, points=previous.points @ turn.T * 10.0 + 3.0, normals=None), vertices
    scanner = phone if kind != "two_heads" else replace(phone, field_deg=60.0, aim_mm=(130.0, -10.0, 30.0))
    seen = virtual_scan(head, scanner, rng, f"{person}_{expression}")
    scan, faces = seen.scan, seen.scan.faces
    assert faces is not None
    if kind == "mirrored":
        scan = Scan(scan.name, scan.points * [-1.0, 1.0, 1.0], None, faces)
    elif kind == "mirrored_turned":
        scan = Scan(scan.name, scan.points * [-1.0, 1.0, 1.0], None, faces[:, ::-1])
    elif kind == "wrong_unit":
        scan = Scan(scan.name, scan.points * float(rng.choice([0.55, 0.62, 1.5, 1.65])), None, faces)
    return scan, transform_points(seen.head_to_scan, vertices)


def _smeared(points: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A head that moved while it was scanned from its chin to its brow: by 15 to 25 mm within a third of the time."""
    way = rng.normal(size=3) * [1.0, 0.3, 1.0]
    way *= rng.uniform(15.0, 25.0) / np.linalg.norm(way)
    share = np.clip((points[:, 1] - rng.uniform(-45.0, -10.0)) / 25.0, 0.0, 1.0)
    return points + (share * share * (3.0 - 2.0 * share))[:, None] * way


def _dressed(head: Mesh, rng: np.random.Generator) -> Mesh:
    """A head with a cap of hair, 8 to 18 mm thick, and with a collar."""
    points = head.vertices
    size = points[:, 1].max() / 115.0
    x, y, z = np.abs(points[:, 0]) / size, points[:, 1] / size, points[:, 2] / size
    over = np.clip((y - 65.0 + 0.7 * (90.0 - z)) / 12.0, 0.0, 1.0)
    over[(x > 62.0) & (y < 30.0) & (np.abs(z) < 30.0)] = 0.0  # ears are free
    thick = rng.uniform(8.0, 18.0) * (1.0 + 0.25 * _waves(points, 25.0, rng)) + 0.8 * _waves(points, 5.0, rng)
    normals, _ = vertex_normals(points, head.faces)
    turn, rise = np.meshgrid(np.linspace(0.0, 2.0 * np.pi, 120), np.linspace(-150.0, -108.0, 16))
    wide = 1.0 + 0.06 * np.cos(turn * rng.integers(2, 5) + rng.uniform(0, 6)) + 0.002 * (rise + 108.0)
    collar = np.stack([78.0 * wide * np.sin(turn), rise, 82.0 * wide * np.cos(turn) - 15.0], axis=-1).reshape(-1, 3)
    return Mesh(
        np.concatenate([points + (over * thick)[:, None] * normals, size * collar]),
        np.concatenate([head.faces, _grid(*turn.shape) + len(points)]),
    )


def _waves(points: FloatArray, length_mm: float, rng: np.random.Generator) -> FloatArray:
    ways = rng.normal(size=(3, 24)) * 2.0 * np.pi / length_mm / np.sqrt(3.0)
    waves: FloatArray = np.cos(points @ ways + rng.uniform(0.0, 2.0 * np.pi, 24)).sum(axis=1) / np.sqrt(12.0)
    return waves


def _grid(rows: int, columns: int) -> IntArray:
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, :-1].ravel(), index[1:, 1:].ravel()
    return np.concatenate([np.stack([a, b, c], axis=1), np.stack([b, d, c], axis=1)])


def _terrain(rng: np.random.Generator) -> Mesh:
    """A cushion: a sheet of waves of a head's size."""
    steps = np.linspace(-110.0, 110.0, 90)
    x, y = np.meshgrid(steps, steps)
    z = sum(
        rng.normal() * 12.0 * np.cos(x * rng.normal(0, 0.03) + y * rng.normal(0, 0.03) + rng.uniform(0, 6))
        for _ in range(8)
    )
    return Mesh(np.stack([x, y - 10.0, z + 40.0], axis=-1).reshape(-1, 3), _grid(*x.shape))


def _drawn_heads(seed: int) -> HeadOf:
    import imhead
    from imhead.conventions import ARKIT_NAMES

    model = imhead.load()

    def head_of(person: int, expression: int) -> tuple[Mesh, FloatArray]:
        head = model.sample(1, seed=1000 * seed + person, spread=0.8)[0]
        weights = draw_expressions(person, 12)[expression]
        mesh = head.mesh(dict(zip(ARKIT_NAMES, weights.tolist())), surface="template")
        return mesh, mesh.vertices

    return head_of


def _held_out_heads(path: Path, with_anny: bool, seed: int) -> HeadOf:
    from imhead.datasets.heads import open_sources, posed_mesh
    from imhead.sources.anny_people import draw_person
    from imhead.sources.compose import ComposeConfig, draw_composition

    sources = open_sources(("ict", "anny") if with_anny else ("ict",), path, None, print)
    topology = load_topology()

    def head_of(person: int, expression: int) -> tuple[Mesh, FloatArray]:
        own = HELD_OUT_SEED + 1000 * seed + person
        if sources.anny is not None and person % 3 == 2:
            head = sources.head(draw_person(sources.anny, own))
        else:
            head = sources.head(draw_composition(own, ComposeConfig(composed_fraction=0.5)))
        weights = draw_expressions(own, 12)[expression]
        return posed_mesh(head, weights), topology.place(head.registered(head.posed(weights)))

    return head_of


def rates(scans: Path, curated: Path) -> dict[str, object]:
    """Shares of spoilt scans that are refused, and for the right reason; share of good ones that are refused."""
    truth = {row["file"]: row["kind"] for row in _read(scans / "truth.csv")}
    found = {row["file"]: row for row in _read(curated / "summary.csv")}
    kinds: dict[str, list[int]] = {}
    wrong = []
    for file, kind in truth.items():
        refused, reason = found[file]["status"] == "refused", found[file]["reason"].partition(":")[0]
        right = refused and reason in REASONS.get(kind, ())
        tally = kinds.setdefault(kind, [0, 0, 0])
        tally[0] += 1
        tally[1] += refused
        tally[2] += right
        if refused if kind == "good" else not right:
            wrong.append(f"{file}: {kind}, {found[file]['status']} {found[file]['reason']} {found[file]['notes']}")
    spoilt = [tally for kind, tally in kinds.items() if kind != "good"]
    total = max(sum(tally[0] for tally in spoilt), 1)
    return {
        "kinds": {
            kind: dict(zip(("scans", "refused", "right_reason"), tally)) for kind, tally in sorted(kinds.items())
        },
        "spoilt_refused": round(sum(tally[1] for tally in spoilt) / total, 4),
        "spoilt_right_reason": round(sum(tally[2] for tally in spoilt) / total, 4),
        "good_refused": round(kinds["good"][1] / kinds["good"][0], 4) if "good" in kinds else None,
        "registered": _registered(scans, curated, found),
        "wrong": wrong,
    }


def _registered(scans: Path, curated: Path, found: dict[str, dict[str, str]]) -> dict[str, dict[str, float]]:
    """How far the registered vertices of accepted good scans lie from the known ones, on the face, mm: over the scans
    the mean and the largest of each one's median. `height` is the part along the known normals.
    """
    topology, known = load_topology(), np.load(scans / "truth.npz")
    model = json.loads((curated / "curated.json").read_text())["model"]
    rows: dict[str, list[float]] = {}
    for file in known.files:
        record = read_record(curated / "scans" / found[file]["scan"] / model / PLACED)
        if found[file]["status"] != "accepted" or record is None:
            continue
        truth = transform_points(np.array(record.figures["scan_to_head"]), known[file])
        away = record.arrays["vertices"] - truth
        height = np.abs(np.einsum("vc,vc->v", away, vertex_normals(truth, topology.faces)[0]))
        skin = np.flatnonzero(topology.part == SKIN)
        tip = truth[skin[np.argmax(truth[skin, 2])]]
        face = (topology.part == SKIN) & (np.linalg.norm(truth - tip, axis=1) < FACE_MM)
        measured = record.arrays["measured"].astype(bool)
        for name, own in (("face", face), ("face_measured", face & measured), ("face_hidden", face & ~measured)):
            if own.sum() >= 100:
                rows.setdefault(name, []).append(float(np.median(np.linalg.norm(away[own], axis=1))))
                rows.setdefault(f"{name}_height", []).append(float(np.median(height[own])))
    return {
        name: {"scans": len(k), "mean": round(float(np.mean(k)), 4), "worst": round(float(np.max(k)), 4)}
        for name, k in rows.items()
    }


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def _write(path: Path, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines, lineterminator="\n").writerows([head, *rows])


if __name__ == "__main__":
    main()
