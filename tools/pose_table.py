"""How often the head is found in virtual rooms, bodies, clutter and things that are no head.

python tools/pose_table.py out/pose_table.jsonl --ict FILE [--scenes 100] [--heads 0] [--first 0] [--fit]

One JSON line for each scene, as it is done; a second run goes on where the first one stopped. Scenes are made of
held-out heads and parts of them, boxes, spheres, cylinders and capsules, in a random pose and unit, as meshes or clouds
with 500 points or more on the face. `--heads` adds the trials of `unit_table.py`: heads from a newborn's to the mean
head's size in every unit. `--fit` prints the weights of the logistic regression of `fitting/pose/evidence.py`.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation
from unit_table import Trial, trials
from unit_table import table as unit_lines

from imhead.checkpoint import load_model
from imhead.conventions import UNIT_MM
from imhead.datasets.heads import OpenSources
from imhead.errors import InputError
from imhead.evaluation.cases import HeldOutSource
from imhead.evaluation.virtual_scanner import FRONTAL_PHONE, virtual_scan
from imhead.fitting.config import FitConfig
from imhead.fitting.points import scan_samples
from imhead.fitting.pose import evidence, finder
from imhead.fitting.pose.evidence import PoseEvidence, probability_of
from imhead.fitting.pose.template import PoseTemplate
from imhead.fitting.start import pose_template
from imhead.sources.ict import read_ict
from imhead.surfaces.properties import face_areas
from imhead.surfaces.sampling import draw_points
from imhead.surfaces.transforms import matrix_of, transform_points
from imhead.types import FloatArray, Mesh, Scan

FACE_AREA_MM2 = 40_000.0
AGREEMENT = ("score", "face", "nose", "eyes", "mouth", "coverage")
RIGHT_MM, RIGHT_DEG = 25.0, 20.0
"""A pose is right if its nose tip and its rotation are nearer than this to the truth."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A scan in mm, and where its head is."""

    kind: str
    """Name of the kind."""
    mesh: Mesh
    """All surfaces."""
    head: FloatArray | None
    """(4, 4) head frame → scene, rigid; None without a head."""


def solid(shape: trimesh.Trimesh, at: Any = (0, 0, 0), turn: Rotation | None = None, scale: Any = 1.0) -> Mesh:
    """A trimesh primitive, scaled, turned and placed."""
    points = np.asarray(shape.vertices) * scale
    points = points if turn is None else turn.apply(points)
    return Mesh(points + np.asarray(at, dtype=np.float64), np.asarray(shape.faces, dtype=np.int64))


def joined(parts: list[Mesh]) -> Mesh:
    """All parts as one mesh."""
    first = np.cumsum([0] + [len(part.vertices) for part in parts])
    return Mesh(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.faces + start for part, start in zip(parts, first)]),
    )


def capsule(start: Any, end: Any, radius: float) -> Mesh:
    """A capsule between two points."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    length = float(np.linalg.norm(end - start))
    along = (end - start) / max(length, 1e-9)
    turn, _ = Rotation.align_vectors(along[None], np.array([[0.0, 0.0, 1.0]]))
    shape = trimesh.creation.capsule(height=length, radius=radius, count=[16, 16])
    return solid(shape, start, turn)


def wavy(mesh: Mesh, size_mm: float, rng: np.random.Generator, length_mm: float = 60.0) -> Mesh:
    """The mesh under a smooth random displacement."""
    moved = mesh.vertices.copy()
    for _ in range(6):
        wave = rng.normal(size=3) / length_mm
        moved += rng.normal(size=3) * np.sin(mesh.vertices @ wave + rng.uniform(0, 6))[:, None] * size_mm / np.sqrt(6)
    return Mesh(moved, mesh.faces)


def person(source: HeldOutSource, index: int, expression: bool, rng: np.random.Generator) -> Mesh:
    """The bust of a held-out head, head frame."""
    head = source.head(index)
    vertices = head.neutral.astype(np.float64)
    if expression:
        weights = np.where(rng.random(52) < 0.08, rng.random(52), 0.0)
        vertices = head.posed(weights).astype(np.float64)
    return Mesh(vertices, np.concatenate([head.source.skin_open_faces, head.source.eye_faces]))


def part_of_head(kind: str, whole: Mesh, nose_tip_mm: FloatArray, rng: np.random.Generator) -> Mesh:
    """What a scan from one side shows of a head: the face alone, one half, a profile or three quarters of the face."""
    corners = whole.vertices[whole.faces]
    middle, side = corners.mean(axis=1), float(rng.choice([-1.0, 1.0]))
    if kind == "mask":
        return Mesh(whole.vertices, whole.faces[np.linalg.norm(middle - nose_tip_mm, axis=1) < 95.0])
    if kind == "half":
        return Mesh(whole.vertices, whole.faces[(side * middle[:, 0] > -5.0) & (middle[:, 2] > 0.0)])
    out = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    yaw = np.radians(85.0 if kind == "profile" else 50.0) * side
    toward = out @ np.array([np.sin(yaw), 0.0, np.cos(yaw)])
    return Mesh(whole.vertices, whole.faces[toward > 0.25 * np.linalg.norm(out, axis=1)])


def body(rng: np.random.Generator) -> Mesh:
    """A body without head: its neck ends at the cut of the bust, head frame."""
    ball = trimesh.creation.icosphere(subdivisions=4)
    parts = [solid(ball, (0, -430, -30), None, (165, 280, 105)), solid(ball, (0, -660, -30), None, (165, 150, 115))]
    for side in (-1, 1):
        shoulder = np.array([side * 165.0, -260, -30])
        arm = Rotation.from_euler("zx", [side * rng.uniform(5, 110), rng.uniform(-40, 60)], degrees=True)
        elbow = shoulder + arm.apply([0, -290.0, 0])
        wrist = elbow + (arm * Rotation.from_euler("x", -rng.uniform(0, 90), degrees=True)).apply([0, -250.0, 0])
        parts += [capsule(shoulder, elbow, 48), capsule(elbow, wrist, 36)]
        out = (wrist - elbow) / np.linalg.norm(wrist - elbow)
        palm = wrist + 60 * out
        across = np.cross(out, rng.normal(size=3))
        across /= np.linalg.norm(across)
        hand, _ = Rotation.align_vectors(np.array([out, across]), np.array([[0, 1.0, 0], [1.0, 0, 0]]))
        parts.append(solid(ball, palm, hand, (42, 55, 16)))
        for finger in range(5):
            root = palm + across * (finger - 2) * 19 + out * (40 if finger else 0)
            tip = root + out * rng.uniform(55, 85) + across * (finger - 2) * 10
            parts.append(capsule(root, tip, 9))
        hip, bend = np.array([side * 90.0, -720, -30]), rng.uniform(0, 60)
        knee = hip + Rotation.from_euler("x", -rng.uniform(0, bend), degrees=True).apply([0, -420.0, 0])
        ankle = knee + Rotation.from_euler("x", rng.uniform(0, bend), degrees=True).apply([0, -410.0, 0])
        foot = solid(ball, ankle + [0, -30, 70], None, (45, 35, 125))
        parts += [capsule(hip, knee, 75), capsule(knee, ankle, 50), foot]
    whole = joined(parts)
    return wavy(whole, rng.uniform(0, 6), rng) if rng.random() < 0.7 else whole


def thing(rng: np.random.Generator, size_mm: float) -> Mesh:
    """A box, a ball, a cylinder, a capsule, a ring or a lumpy stone of about this size, about the origin."""
    ratio = rng.uniform(0.3, 1.0, 3)
    kind = rng.integers(6)
    if kind == 0:
        mesh = solid(trimesh.creation.box(size_mm * ratio))
    elif kind == 1:
        mesh = solid(trimesh.creation.icosphere(subdivisions=4), scale=size_mm * ratio / 2)
    elif kind == 2:
        mesh = solid(trimesh.creation.cylinder(size_mm * ratio[0] / 2, size_mm, sections=48))
    elif kind == 3:
        mesh = capsule((0, 0, -size_mm * ratio[0] / 2), (0, 0, size_mm * ratio[0] / 2), size_mm * ratio[1] / 4)
    elif kind == 4:
        mesh = solid(trimesh.creation.torus(size_mm / 2.5, size_mm * ratio[0] / 8))
    else:
        mesh = stone(rng, size_mm)
    return Mesh(mesh.vertices @ Rotation.random(random_state=int(rng.integers(1 << 31))).as_matrix(), mesh.faces)


def stone(rng: np.random.Generator, size_mm: float) -> Mesh:
    """A ball with lumps of all sizes: the nearest to a head among things that are none."""
    ball = trimesh.creation.icosphere(subdivisions=5)
    at = np.asarray(ball.vertices)
    relief = np.zeros(len(at))
    for frequency in (2, 4, 8, 14):
        for _ in range(8):
            axis = rng.normal(size=3)
            relief += np.sin(frequency * at @ axis / np.linalg.norm(axis) + rng.uniform(0, 6)) / frequency
    radius = 1 + rng.uniform(0.05, 0.16) * relief
    return Mesh(at * radius[:, None] * size_mm * rng.uniform(0.35, 0.55, 3), np.asarray(ball.faces))


def spikes(rng: np.random.Generator, count: int) -> list[Mesh]:
    """Cones that point outwards from a body: horns, spines, claws."""
    parts = []
    for _ in range(count):
        cone = trimesh.creation.cone(rng.uniform(8, 30), rng.uniform(30, 120), sections=24)
        at = [rng.uniform(-200, 200), rng.uniform(-1500, -300), rng.uniform(-130, 130)]
        parts.append(solid(cone, at, Rotation.random(random_state=int(rng.integers(1 << 31)))))
    return parts


def room(rng: np.random.Generator) -> Mesh:
    """Walls and furniture; the floor at y = 0, its middle at the origin."""
    wide, high, deep = rng.uniform(3000, 6000), rng.uniform(2300, 3000), rng.uniform(3000, 6000)
    parts = [solid(trimesh.creation.box((wide, high, deep)), (0, high / 2, 0))]
    for _ in range(int(rng.integers(3, 9))):
        size = rng.uniform(300, 1500, 3) * [1, 0.8, 1]
        at = [rng.uniform(-0.45, 0.45) * wide, size[1] / 2, rng.uniform(-0.45, 0.45) * deep]
        parts.append(solid(trimesh.creation.box(size), at, Rotation.from_euler("y", rng.uniform(0, 360), degrees=True)))
    for _ in range(int(rng.integers(4, 14))):
        small = thing(rng, rng.uniform(80, 500))
        at = [rng.uniform(-0.45, 0.45) * wide, rng.uniform(100, 1700), rng.uniform(-0.45, 0.45) * deep]
        parts.append(Mesh(small.vertices + at, small.faces))
    return joined(parts)


def around(rng: np.random.Generator, count: int) -> list[Mesh]:
    """Things about a head, none nearer than 260 mm."""
    parts = []
    for _ in range(count):
        small = thing(rng, rng.uniform(60, 400))
        out = rng.normal(size=3)
        place = out / np.linalg.norm(out) * rng.uniform(300, 900)
        size = np.linalg.norm(small.vertices, axis=1).max()
        away = max(np.linalg.norm(place), 260 + size)
        parts.append(Mesh(small.vertices + place / np.linalg.norm(place) * away, small.faces))
    return parts


def scene(kind: str, source: HeldOutSource, index: int, nose_tip_mm: FloatArray, rng: np.random.Generator) -> Scene:
    """The scene of an index; the head of each is another."""
    head = None
    upright = np.eye(4)
    if kind in WITH_HEAD:
        head = person(source, index, rng.random() < 0.4, rng)
    if kind in PARTS:
        assert head is not None
        return Scene(kind, part_of_head(kind, head, nose_tip_mm, rng), upright)
    if kind == "frontal":
        assert head is not None
        scanned = virtual_scan(head, FRONTAL_PHONE, np.random.default_rng(index), kind)
        assert scanned.scan.faces is not None
        placed = transform_points(np.linalg.inv(scanned.head_to_scan), scanned.scan.points)
        return Scene(kind, Mesh(placed, scanned.scan.faces), upright)
    if kind == "head":
        assert head is not None
        return Scene(kind, head, upright)
    if kind in ("body", "spiky_body", "headless"):
        parts = [body(rng), *(spikes(rng, 30) if kind == "spiky_body" else [])]
        return Scene(kind, joined(parts if head is None else [head, *parts]), None if head is None else upright)
    if kind in ("clutter", "things"):
        parts = around(rng, int(rng.integers(3, 15)))
        return Scene(kind, joined(parts if head is None else [head, *parts]), None if head is None else upright)
    if kind == "body_part":
        whole = body(rng)
        at = whole.vertices[rng.integers(len(whole.vertices))]
        near = np.linalg.norm(whole.vertices[whole.faces].mean(axis=1) - at, axis=1) < rng.uniform(120.0, 400.0)
        return Scene(kind, Mesh(whole.vertices, whole.faces[near]), None)
    if kind == "stone":
        return Scene(kind, stone(rng, rng.uniform(150, 350)), None)
    if kind == "back_of_head":
        whole = person(source, index, False, rng)
        middle = whole.vertices[whole.faces].mean(1)
        return Scene(kind, Mesh(whole.vertices, whole.faces[middle[:, 2] < 10.0]), None)
    house = room(rng)
    if head is None:
        return Scene(kind, house, None)
    turn = Rotation.from_euler("yx", [rng.uniform(0, 360), rng.uniform(-20, 20)], degrees=True).as_matrix()
    place = matrix_of(turn, np.array([rng.uniform(-900, 900), rng.uniform(1100, 1700), rng.uniform(-900, 900)]))
    figure = head if kind == "room_bust" else joined([head, body(rng)])
    return Scene(kind, joined([Mesh(transform_points(place, figure.vertices), figure.faces), house]), place)


PARTS = ("mask", "threequarter", "profile", "half")
WITH_HEAD = ("head", "frontal", *PARTS, "body", "spiky_body", "clutter", "room_body", "room_bust")
WITHOUT = ("headless", "body_part", "things", "stone", "back_of_head", "room")
KINDS = (*WITH_HEAD, *WITHOUT)


def scanned(made: Scene, rng: np.random.Generator) -> tuple[Scan, FloatArray | None, str]:
    """The scan of a scene in a random pose and unit, head frame → scan (4, 4), and the unit (or 'other')."""
    unit = str(rng.choice([*UNIT_MM, *UNIT_MM, "other"]))
    mm = UNIT_MM.get(unit, float(np.exp(rng.uniform(np.log(0.05), np.log(500)))))
    turn = Rotation.random(random_state=int(rng.integers(1 << 31))).as_matrix()
    move = matrix_of(turn / mm, rng.normal(size=3) * 500 / mm)
    truth = None if made.head is None else move @ made.head
    if rng.random() < 0.4:
        return Scan(made.kind, transform_points(move, made.mesh.vertices), None, made.mesh.faces), truth, unit
    per_face = float(np.exp(rng.uniform(np.log(550), np.log(5000))))
    points, normals = cloud(made, per_face / FACE_AREA_MM2, rng)
    points = points + rng.normal(size=points.shape) * rng.choice([0.0, 0.3, 1.0])
    given = None if rng.random() < 0.6 else normals @ turn.T
    return Scan(made.kind, transform_points(move, points), given), truth, unit


def cloud(made: Scene, per_mm2: float, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Points and normals, `per_mm2` of them within 1 m of the head and a tenth elsewhere, as of a person scanned."""
    parts = [made.mesh.faces]
    if made.head is not None:
        middle = made.mesh.vertices[made.mesh.faces].mean(axis=1)
        near = np.linalg.norm(middle - made.head[:3, 3], axis=1) < 1000.0
        parts = [made.mesh.faces[near], made.mesh.faces[~near]]
    drawn = []
    for faces, density in zip(parts, (per_mm2, per_mm2 / 10)):
        if len(faces):
            count = int(np.clip(density * face_areas(Mesh(made.mesh.vertices, faces)).sum(), 1000, 500_000))
            drawn.append(draw_points(made.mesh.vertices, faces, count, rng)[:2])
    return np.concatenate([points for points, _ in drawn]), np.concatenate([normals for _, normals in drawn])


def row_of(number: int, source: HeldOutSource, template: PoseTemplate) -> dict[str, Any]:
    """What the search makes of one scene."""
    rng = np.random.default_rng([0x905E, number])
    kind = KINDS[number % len(KINDS)]
    made = scene(kind, source, number, template.nose_tip_mm, rng)
    scan, truth, unit = scanned(made, rng)
    named = unit if unit in UNIT_MM and rng.random() < 0.5 else "auto"
    row: dict[str, Any] = {
        "scene": number, "kind": kind, "unit": unit, "named": named, "mesh": scan.faces is not None,
        "points": len(scan.points), "mm": float(np.ptp(made.mesh.vertices, axis=0).max()),
    }  # fmt: skip
    began = time.process_time()
    config = FitConfig()
    try:
        samples, normals = scan_samples(scan, config)
        pose = finder.find_pose(
            samples, normals, template, units=named, redraw=partial(scan_samples, scan, config), accept_all=True
        )
    except InputError as error:
        row |= {"refused": str(error)}
    else:
        row |= {
            "probability": pose.probability,
            "score": pose.score,
            "evidence": [round(value, 4) for value in astuple(pose.evidence)],
        }
        row |= {"found_unit": pose.units, "right": False}
        if truth is not None:
            there = np.linalg.inv(pose.scan_to_head)
            tip = template.nose_tip_mm[None]
            to_mm = 1.0 / np.cbrt(np.linalg.det(truth[:3, :3]))
            off = float(np.linalg.norm(transform_points(there, tip) - transform_points(truth, tip))) * float(to_mm)
            both = pose.scan_to_head[:3, :3] @ truth[:3, :3]
            angle = float(np.degrees(Rotation.from_matrix(both / np.cbrt(np.linalg.det(both))).magnitude()))
            row |= {
                "off_mm": round(float(off), 2),
                "off_deg": round(angle, 2),
                "right": bool(off < RIGHT_MM and angle < RIGHT_DEG),
            }
    return row | {"cpu_s": time.process_time() - began}


def table(rows: list[dict[str, Any]]) -> str:
    """Counts for each kind: right and sure, right and not sure, wrong and sure, wrong and not sure, refused."""
    lines = [f"{'kind':14s} scenes  right  right?  wrong  wrong?  refused  cpu s (median)"]
    for kind in (*KINDS, "all"):
        mine = [row for row in rows if kind in (row["kind"], "all")]
        counts = {"right": 0, "right?": 0, "wrong": 0, "wrong?": 0, "refused": 0}
        for row in mine:
            p = probability(row)
            if p < finder.REFUSED_BELOW:
                counts["refused"] += 1
            else:
                counts[("right" if row["right"] else "wrong") + ("" if p >= finder.SURE_ABOVE else "?")] += 1
        times = np.median([row["cpu_s"] for row in mine]) if mine else 0.0
        lines.append(f"{kind:14s} {len(mine):6d} " + " ".join(f"{n:6d}" for n in counts.values()) + f" {times:8.1f}")
    return "\n".join(lines)


def probability(row: dict[str, Any]) -> float:
    """By the weights of today, 0 where the search refused."""
    return probability_of(PoseEvidence(*row["evidence"])) if "evidence" in row else 0.0


def fitted_weights(rows: list[dict[str, Any]], prior_rows: float = 10.0) -> tuple[FloatArray, float]:
    """Weights and offset of a logistic regression of `right` on the evidence.

    Few scenes must not move them far: the weights of today are the prior, with the pull of `prior_rows` scenes. More
    agreement never makes a pose less probable, so the weights of agreement are not negative.
    """
    used = [row for row in rows if "evidence" in row]
    x, y = np.array([row["evidence"] for row in used]), np.array([row["right"] for row in used], float)
    spread = x.std(0) + 0.02
    prior = np.append(np.array(evidence.WEIGHTS) * spread, evidence.OFFSET + evidence.WEIGHTS @ x.mean(0))

    def loss(w: FloatArray) -> float:
        value = (x - x.mean(0)) / spread @ w[:-1] + w[-1]
        away = np.square((w - prior)[:-1]).sum() / 2 + np.square(w[-1] - prior[-1]) / 8
        return float(np.sum(np.logaddexp(0, value) - y * value) + away * prior_rows / len(prior))

    agreement = len(AGREEMENT)
    bounds = [(0.0, None)] * agreement + [(None, None)] * (len(prior) - agreement)
    w = minimize(loss, prior, method="L-BFGS-B", bounds=bounds).x
    return w[:-1] / spread, float(w[-1] - (w[:-1] / spread) @ x.mean(0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--ict", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--heads", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--fit", action="store_true")
    given = parser.parse_args()
    lines = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    rows, heads = [line for line in lines if "scene" in line], [line for line in lines if "trials" in line]
    done, done_heads = {row["scene"] for row in rows}, {line["unit_head"] for line in heads}
    wanted = [n for n in range(given.first, given.first + given.scenes) if n not in done]
    wanted_heads = [n for n in range(given.first, given.first + given.heads) if n not in done_heads]
    if wanted or wanted_heads:
        torch.set_num_threads(1)
        model, ict = load_model(), read_ict(given.ict)
        source, template = HeldOutSource.composed(ict), pose_template(model)
        given.out.parent.mkdir(parents=True, exist_ok=True)
        with given.out.open("a") as file:
            for number in wanted:
                rows.append(row_of(number, source, template))
                file.write(json.dumps(rows[-1]) + "\n")
                file.flush()
            for number in wanted_heads:
                found = [asdict(trial) for trial in trials(model, OpenSources(ict, None), number)]
                heads.append({"unit_head": number, "trials": found})
                file.write(json.dumps(heads[-1]) + "\n")
                file.flush()
    if given.fit:
        weights, offset = fitted_weights(rows)
        print("weights", np.round(weights, 3).tolist(), "offset", round(offset, 3))
    print(table(rows))
    if heads:
        print("\n".join(unit_lines([Trial(**trial) for line in heads for trial in line["trials"]])))


if __name__ == "__main__":
    main()
